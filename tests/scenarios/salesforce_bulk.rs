//! Loads by jobs of the Bulk API 2.0: whatever goes wrong with one, every record is there once, and as it was last.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Kind;
use super::salesforce::{World, said, until_through};

/// Texts that a CSV file could garble.
const ODD: [&str; 8] =
    ["a, b", "say \"hi\"", "two\nlines", "cr\r\nlf", "#N/A", "\"", "=1+1;|`^\t,", "naïve 数 \u{1f680}"];

/// Jobs from 20 records on, and names of our own for creates.
async fn world(kind: Kind, more: Value) -> World {
    let world = World::new(kind, Value::Null).await;
    let mut settings = json!({"external_id": "Tidelock_Id__c", "bulk_threshold": 20});
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    world.configure(json!({"source": world.sandbox.endpoint("Account", &settings)}));
    world
}

/// A copy of the database's table by its key.
async fn copy(kind: Kind, threshold: u64) -> World {
    let world = World::new(kind, Value::Null).await;
    world.configure(json!({
        "source": world.database.endpoint("erp", "accounts"),
        "target": world.sandbox.endpoint("Account", &json!({"external_id": "Tidelock_Id__c", "bulk_threshold": threshold})),
        "sync_type": "one_way", "key": {"source": "id", "target": "Tidelock_Id__c"},
        "field_mappings": [{"source": "account_name", "target": "Name"}, {"source": "industry_type", "target": "Industry"}],
    }));
    world
}

async fn insert(world: &World, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("Born here {number}")).collect();
    world.insert(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

pub async fn many_are_loaded_both_ways_by_jobs(kind: Kind) {
    let world = world(kind, Value::Null).await;
    for (number, odd) in ODD.iter().cycle().take(40).enumerate() {
        let name = if number < ODD.len() { (*odd).to_owned() } else { format!("{odd} {number}") };
        let fields = json!({"Name": name, "Industry": if number % 2 == 0 { json!(odd) } else { Value::Null }});
        world.sandbox.create("Account", fields).await;
    }
    insert(&world, 40).await;
    world.insert(&ODD.map(|odd| format!("ours {odd}")).each_ref().map(String::as_str)).await;
    world.database.execute("INSERT INTO accounts (account_name, industry_type) VALUES ('null by name', '#N/A')").await;
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    world.tidelock.once(0);
    let of = async |kind: &str| world.sandbox.asked_for(kind).await;
    assert_eq!((of("POST jobs/query").await, of("POST jobs/ingest").await), (1, 1));
    assert_eq!((of("DELETE jobs/query").await, of("DELETE jobs/ingest").await), (1, 1), "nothing is left there");
    assert_eq!(of("POST composite/sobjects").await, 0, "no create goes by collections …");
    assert_eq!(of("PATCH composite/sobjects/Account/Tidelock_Id__c").await, 1, "… but for the text that means null");
    let (theirs, ours) = world.accounts().await;
    assert!(theirs == ours && theirs.len() == 89, "{} and {}", theirs.len(), ours.len());
    assert_eq!(theirs["null by name"].0.as_deref(), Some("#N/A"));
    world.ids_agree().await;
    world.tidelock.audit(0);
    world.quiet().await;
}

pub async fn what_a_job_does_not_finish_goes_on_without_it(kind: Kind) {
    for faults in [
        json!([{"method": "PATCH", "path": "/jobs/ingest", "fault": {"failed_job": {"after": 7}}},
            {"method": "POST", "path": "/jobs/query", "fault": {"failed_job": {"after": 0}}}]),
        json!([{"method": "PATCH", "path": "/jobs/ingest", "fault": {"locked_row": {"share": 0.3}}},
            {"path": "/jobs/query", "contains": "maxRecords", "fault": {"short_page": {"records": 7}}},
            {"path": "/results", "every": 2, "fault": "connection_reset"}]),
        json!([{"method": "PATCH", "path": "/jobs", "contains": "Upload", "fault": {"slow_job": {"ms": 3_600_000}}}]),
        json!([{"method": "POST", "path": "/jobs", "fault": "concurrent_limit", "times": 1},
            {"method": "PATCH", "path": "/jobs/ingest", "nth": 1, "fault": "session_expired"}]),
    ] {
        let world = world(kind, json!({"timeout_seconds": 3})).await;
        let names: Vec<Value> = (0..30).map(|number| json!({"Name": format!("Account {number}")})).collect();
        for name in names {
            world.sandbox.create("Account", name).await;
        }
        insert(&world, 30).await;
        // The org refuses one: a person is asked about it, and the others flow.
        world.database.execute("INSERT INTO accounts (industry_type) VALUES ('Energy')").await;
        world.faults(faults.clone()).await;
        let ran = world.tidelock.once(1);
        assert_eq!((ran.number("written_source"), ran.number("reviews")), (30, 1), "{faults}: {}", ran.lines[0]);
        let listed = said(&world.tidelock.run(&["review", "list", "--json"]));
        assert!(listed.contains("REQUIRED_FIELD_MISSING (Name)"), "{listed}");
        world.faults(json!([])).await;
        world.database.execute("DELETE FROM accounts WHERE account_name IS NULL").await;
        world.tidelock.once(0);
        world.settled(60).await;
    }
}

pub async fn lost_answers_of_jobs_make_no_duplicate(kind: Kind) {
    let world = world(kind, Value::Null).await;
    insert(&world, 50).await;
    world
        .faults(json!([
            {"method": "POST", "path": "/jobs/ingest", "nth": 1, "fault": "lost_response"},
            {"method": "PUT", "path": "/batches", "nth": 1, "fault": "lost_response"},
            {"method": "PUT", "path": "/batches", "nth": 2, "fault": "dropped_request"},
            {"method": "PATCH", "path": "/jobs/ingest", "contains": "UploadComplete", "nth": 1, "fault": "dropped_request"},
            {"method": "PATCH", "path": "/jobs/ingest", "contains": "UploadComplete", "nth": 2, "fault": "lost_response"},
            {"method": "GET", "path": "/jobs/ingest", "every": 3, "fault": "connection_reset"},
            {"method": "GET", "path": "/successfulResults", "times": 5, "fault": "unavailable"},
        ]))
        .await;
    until_through(&world.tidelock);
    world.settled(50).await;
    let twice = world.sandbox.rows("SELECT Tidelock_Id__c FROM Account").await;
    assert!(twice.iter().all(|row| row[0].is_some()), "each has its name: {twice:?}");
}

/// Starts a run and kills it while its job is at work.
async fn killed_at_work(world: &World, slow_ms: u64) {
    let rule = json!({"method": "PATCH", "path": "/jobs/ingest", "contains": "UploadComplete", "nth": 1, "fault": {"slow_job": {"ms": slow_ms}}});
    world.faults(json!([rule])).await;
    let mut command = world.tidelock.command(&["run", "sync.json", "--once"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while world.sandbox.asked_for("PATCH jobs/ingest").await == 0 {
        assert!(begin.elapsed().as_secs() < 60 && child.try_wait().unwrap().is_none(), "no job was started");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(world.sandbox.count("Account").await, 0, "it is not done yet");
}

pub async fn a_kill_while_a_job_is_at_work_makes_no_duplicate(kind: Kind) {
    let world = world(kind, Value::Null).await;
    insert(&world, 30).await;
    killed_at_work(&world, 1500).await;
    world.tidelock.once(0);
    world.settled(30).await;
}

pub async fn a_copy_goes_by_jobs(kind: Kind) {
    let world = copy(kind, 20).await;
    insert(&world, 60).await;
    world.database.execute("INSERT INTO accounts (industry_type) VALUES ('Energy')").await;
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    let ran = world.tidelock.once(1);
    assert_eq!((ran.number("written_target"), ran.number("reviews")), (60, 1), "{}", ran.lines[0]);
    assert_eq!(world.sandbox.asked_for("POST jobs/ingest").await, 1, "the refused one costs no more");
    assert_eq!(world.sandbox.requests().await.1, 1);
    world.database.execute("DELETE FROM accounts WHERE account_name IS NULL").await;
    world.tidelock.once(0);
    // A load that finds all there writes nothing; one that finds many changed writes these.
    assert_eq!(world.tidelock.run(&["resync", "accounts"]).code, 0);
    world.quiet().await;
    world.database.execute("UPDATE accounts SET industry_type = 'Energy' WHERE id > 10").await;
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    let ran = world.tidelock.once(0);
    assert_eq!((ran.number("written_target"), world.sandbox.asked_for("POST jobs/ingest").await), (50, 1));
    let energy = world.sandbox.rows("SELECT Name FROM Account WHERE Industry = 'Energy'").await.len();
    assert_eq!((energy, world.sandbox.count("Account").await), (50, 60));
    world.tidelock.audit(0);
    world.quiet().await;
}

pub async fn a_job_of_a_dead_run_overwrites_nothing_newer(kind: Kind) {
    let world = copy(kind, 20).await;
    insert(&world, 30).await;
    killed_at_work(&world, 1500).await;
    world.database.execute("UPDATE accounts SET industry_type = 'Newer' WHERE id <= 5").await;
    world.tidelock.once(0);
    let newer = world.sandbox.rows("SELECT Name FROM Account WHERE Industry = 'Newer'").await.len();
    assert_eq!((newer, world.sandbox.count("Account").await), (5, 30));
    world.tidelock.audit(0);
    world.quiet().await;
}

/// Requests and seconds of loads, with jobs and without.
pub async fn what_loads_cost(kind: Kind) {
    for count in [10_000, 100_000] {
        for threshold in [0, 10_000] {
            let loaded = world(kind, json!({"bulk_threshold": threshold})).await;
            insert_many(&loaded, count).await;
            tell("created in the org", (count, threshold), &loaded).await;
            let read = world(kind, json!({"bulk_threshold": threshold})).await;
            // As a copy has made them.
            let copied = copy(kind, threshold).await;
            insert_many(&copied, count).await;
            tell("copied into the org", (count, threshold), &copied).await;
            let endpoint = copied.sandbox.endpoint("Account", &json!({"bulk_threshold": threshold}));
            read.configure(json!({"source": endpoint}));
            // What was made within the overlap would be read by polls, too.
            copied.sandbox.beside("POST", "clock", &json!({"advance_seconds": 3600})).await;
            copied.sandbox.beside("DELETE", "journal", &Value::Null).await;
            let begin = Instant::now();
            read.tidelock.once(0);
            let (asked, _) = copied.sandbox.requests().await;
            eprintln!("{count} read, threshold {threshold}: {asked} requests, {:.1} s", begin.elapsed().as_secs_f64());
        }
    }
}

async fn insert_many(world: &World, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for part in numbers.chunks(10_000) {
        let names: Vec<String> = part.iter().map(|number| format!("Account {number}")).collect();
        world.insert(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

async fn tell(what: &str, (count, threshold): (usize, u64), world: &World) {
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    let begin = Instant::now();
    world.tidelock.once(0);
    let (asked, wrote) = world.sandbox.requests().await;
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("{count} {what}, threshold {threshold}: {asked} requests, {wrote} of them writes, {seconds:.1} s");
    assert_eq!(world.sandbox.count("Account").await, count as u64);
}

/// In a hub the names and the threshold are said of the system.
pub async fn a_spoke_of_a_hub_loads_by_jobs_and_names_what_it_creates(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let mut crm = world.sandbox.endpoint("", &json!({"external_id": "Tidelock_Id__c", "bulk_threshold": 20}));
    let mut erp = world.database.endpoint("", "");
    for system in [&mut crm, &mut erp] {
        system.as_object_mut().unwrap().retain(|key, _| !["name", "object", "table"].contains(&key.as_str()));
    }
    world.tidelock.configure(&json!({
        "systems": {"crm": crm, "erp": erp}, "sync_hub": "erp", "sync_type": "bidirectional",
        "connected_systems": [{"system": "crm", "mappings": {"Account": {"hub": "accounts", "connection_name": "accounts",
            "field_mappings": [{"source": "Id", "target": "sf_id"}, {"source": "Name", "target": "account_name"},
                {"source": "Industry", "target": "industry_type"}, {"source": "AnnualRevenue", "target": "annual_revenue"}]}}}],
    }));
    let names: Vec<String> = (0..30).map(|number| format!("Account {number}")).collect();
    world.insert(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.tidelock.once(0);
    let named = world.sandbox.rows("SELECT Id FROM Account WHERE Tidelock_Id__c != null").await;
    assert_eq!(named.len(), 30);
    assert_eq!(world.sandbox.asked_for("POST jobs/ingest").await, 1);
    world.settled(30).await;
}
