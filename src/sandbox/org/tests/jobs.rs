//! Jobs of the Bulk API 2.0.

use serde_json::{Value, json};

use super::{Served, World};

#[test]
fn a_bulk_job_loads_what_it_can_and_says_what_it_could_not() {
    let mut world = World::new();
    world.create(json!({"Name": "Old", "Tidelock_Id__c": "1", "Phone": "1"}));
    let wanted = json!({"object": "Account", "operation": "upsert", "externalIdFieldName": "Tidelock_Id__c", "lineEnding": "LF"});
    let (_, job) = world.ask("POST", "jobs/ingest", wanted);
    let id = job["id"].as_str().unwrap().to_owned();
    let csv = "Tidelock_Id__c,Name,Phone,Description\n1,New,#N/A,\"two\nlines, \"\"quoted\"\"\"\n2,,5,\n3,Third,,\n";
    assert_eq!(world.raw("PUT", &format!("jobs/ingest/{id}/batches"), csv.into()).answer.status, 201);
    assert_eq!(world.ask("PATCH", &format!("jobs/ingest/{id}"), json!({"state": "UploadComplete"})).0, 200);
    let target = format!("jobs/ingest/{id}");
    let states: Vec<Value> = (0..3).map(|_| world.get(&target).1["state"].clone()).collect();
    assert_eq!(states, ["InProgress", "JobComplete", "JobComplete"]);
    let job = world.get(&target).1;
    assert_eq!((&job["numberRecordsProcessed"], &job["numberRecordsFailed"]), (&json!(3), &json!(1)));
    let mut text =
        |kind: &str| String::from_utf8(world.raw("GET", &format!("{target}/{kind}/"), Vec::new()).answer.body).unwrap();
    let good = text("successfulResults");
    assert!(good.starts_with("\"sf__Id\",\"sf__Created\",\"Tidelock_Id__c\""), "{good}");
    assert!(good.find("Third") < good.find("New"), "the order is not that of the file: {good}");
    assert!(text("failedResults").contains("REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"));
    let (_, record) = world.get("sobjects/Account/Tidelock_Id__c/1");
    assert_eq!((&record["Phone"], &record["Description"]), (&Value::Null, &json!("two\nlines, \"quoted\"")));
}

#[test]
fn a_bulk_job_whose_file_is_wrong_fails_whole() {
    let mut world = World::new();
    for (csv, error) in
        [("Name\r\nx\r\n", "LineEnding"), ("Nmae\nx\n", "Field name not found"), ("Name,Phone\nx\n", "InvalidBatch")]
    {
        let (_, job) = world.ask("POST", "jobs/ingest", json!({"object": "Account", "operation": "insert"}));
        let target = format!("jobs/ingest/{}", job["id"].as_str().unwrap());
        world.raw("PUT", &format!("{target}/batches"), csv.into());
        world.ask("PATCH", &target, json!({"state": "UploadComplete"}));
        world.get(&target);
        let (_, job) = world.get(&target);
        assert_eq!(job["state"], "Failed", "{csv}");
        assert!(job["errorMessage"].as_str().unwrap().contains(error), "{job}");
    }
    assert!(world.names().is_empty());
}

#[test]
fn a_bulk_query_is_read_in_parts() {
    let mut world = World::new();
    for name in ["a", "b, c", "d"] {
        world.create(json!({"Name": name}));
    }
    let (_, job) = world.ask(
        "POST",
        "jobs/query",
        json!({"operation": "query", "query": "SELECT Name, Phone FROM Account ORDER BY Name"}),
    );
    let target = format!("jobs/query/{}", job["id"].as_str().unwrap());
    assert_eq!(world.get(&format!("{target}/results")).0, 400, "it is not complete");
    world.get(&target);
    assert_eq!(world.get(&target).1["state"], "JobComplete");
    let served = world.raw("GET", &format!("{target}/results?maxRecords=2"), Vec::new());
    let header =
        |served: &Served, name: &str| served.answer.headers.iter().find(|(key, _)| *key == name).unwrap().1.clone();
    assert_eq!(header(&served, "content-encoding"), "gzip", "whatever the client accepts");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*served.answer.body), &mut text).unwrap();
    assert_eq!(text, "\"Name\",\"Phone\"\n\"a\",\"\"\n\"b, c\",\"\"\n");
    let locator = header(&served, "sforce-locator");
    let served = world.raw("GET", &format!("{target}/results?maxRecords=2&locator={locator}"), Vec::new());
    assert_eq!(
        (header(&served, "sforce-locator"), header(&served, "sforce-numberofrecords")),
        ("null".to_owned(), "1".to_owned())
    );
}

/// A job that loads three accounts, started.
fn loading(world: &mut World) -> String {
    let (_, job) = world.ask("POST", "jobs/ingest", json!({"object": "Account", "operation": "insert"}));
    let target = format!("jobs/ingest/{}", job["id"].as_str().unwrap());
    world.raw("PUT", &format!("{target}/batches"), "Name\na\nb\nc\n".into());
    assert_eq!(world.ask("PATCH", &target, json!({"state": "UploadComplete"})).0, 200);
    target
}

#[test]
fn a_slow_job_goes_on_by_itself_until_it_is_aborted() {
    let mut world = World::new();
    world.script(json!({"rules": [{"method": "PATCH", "fault": {"slow_job": {"ms": 1000}}}]}));
    world.ask("POST", "/sandbox/clock", json!({"stop": true}));
    let target = loading(&mut world);
    let states: Vec<Value> = (0..2).map(|_| world.get(&target).1["state"].clone()).collect();
    assert_eq!((states, world.names().len()), (vec![json!("InProgress"), json!("InProgress")], 0));
    world.ask("POST", "/sandbox/clock", json!({"advance_seconds": 1}));
    assert_eq!(world.names(), ["a", "b", "c"], "nobody had to ask for it");
    assert_eq!(world.get(&target).1["state"], "JobComplete");
    let other = loading(&mut world);
    assert_eq!(world.ask("PATCH", &other, json!({"state": "Aborted"})).0, 200);
    world.ask("POST", "/sandbox/clock", json!({"advance_seconds": 1}));
    assert_eq!((world.get(&other).1["state"].clone(), world.names().len()), (json!("Aborted"), 3));
}

#[test]
fn a_job_that_fails_half_way_keeps_what_it_did() {
    let mut world = World::new();
    world.script(json!({"rules": [{"method": "PATCH", "fault": {"failed_job": {"after": 1}}}]}));
    let target = loading(&mut world);
    world.get(&target);
    assert_eq!(world.get(&target).1["state"], "Failed");
    assert_eq!(world.names(), ["a"]);
    let rest = world.raw("GET", &format!("{target}/unprocessedrecords"), Vec::new()).answer.body;
    assert_eq!(String::from_utf8(rest).unwrap(), "\"Name\"\n\"b\"\n\"c\"\n");
}
