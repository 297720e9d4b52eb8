//! The API as a function: requests in, answers out.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::sandbox::clock::MINUTE_MS;

mod jobs;

/// An org with a session.
struct World {
    org: Org,
    headers: HeaderMap,
}

impl World {
    fn new() -> Self {
        let mut world =
            Self { org: Org::new("http://127.0.0.1:1".to_owned(), 1000, Script::default()), headers: HeaderMap::new() };
        world.log_in();
        world
    }

    fn log_in(&mut self) {
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            oauth::CLIENT_ID,
            oauth::CLIENT_SECRET
        );
        let request = Request::new("POST", "/services/oauth2/token", HeaderMap::new(), body.into_bytes());
        let answer: Value = serde_json::from_slice(&self.org.serve(&request).answer.body).unwrap();
        let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        self.headers.insert("authorization", token.parse().unwrap());
    }

    fn script(&mut self, script: Value) {
        self.org.faults = Faults::new(serde_json::from_value(script).unwrap());
    }

    fn raw(&mut self, method: &str, target: &str, body: Vec<u8>) -> Served {
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/services/data/v60.0/{target}") };
        self.org.serve(&Request::new(method, &target, self.headers.clone(), body))
    }

    /// The status, and the body as JSON.
    fn ask(&mut self, method: &str, target: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let served = self.raw(method, target, body);
        let text = serde_json::from_slice(&served.answer.body).unwrap_or(Value::Null);
        (served.answer.status.as_u16(), text)
    }

    fn get(&mut self, target: &str) -> (u16, Value) {
        self.ask("GET", target, Value::Null)
    }

    fn create(&mut self, fields: Value) -> String {
        let (status, answer) = self.ask("POST", "sobjects/Account", fields);
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    fn names(&mut self) -> Vec<String> {
        let (_, found) = self.get("query?q=SELECT+Name+FROM+Account+ORDER+BY+Name");
        found["records"].as_array().unwrap().iter().map(|record| record["Name"].as_str().unwrap().to_owned()).collect()
    }
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1[0]["errorCode"].as_str().unwrap_or_default())
}

#[test]
fn a_record_is_created_read_changed_and_deleted() {
    let mut world = World::new();
    let id = world.create(json!({"Name": " Acme ", "AnnualRevenue": 1.5, "BillingCity": "Oslo", "Phone": ""}));
    let (_, record) = world.get(&format!("sobjects/Account/{}", id.get(..15).unwrap()));
    assert_eq!(
        (&record["Name"], &record["Phone"], &record["AnnualRevenue"]),
        (&json!("Acme"), &Value::Null, &json!(2.0))
    );
    assert_eq!(record["BillingAddress"]["city"], "Oslo");
    assert_eq!(record["CreatedDate"], record["SystemModstamp"]);
    assert_eq!(world.ask("PATCH", &format!("sobjects/Account/{id}"), json!({"Name": "Apex"})).0, 204);
    assert_eq!(world.get(&format!("sobjects/Account/{id}?fields=Name")).1["Name"], "Apex");
    assert_eq!(world.ask("DELETE", &format!("sobjects/Account/{id}"), Value::Null).0, 204);
    assert_eq!(code(&world.ask("DELETE", &format!("sobjects/Account/{id}"), Value::Null)), (404, "ENTITY_IS_DELETED"));
    assert!(world.names().is_empty());
    let (_, all) = world.get("queryAll?q=SELECT+Name,IsDeleted+FROM+Account");
    assert_eq!(all["records"][0]["IsDeleted"], true);
}

#[test]
fn wrong_records_are_refused_whole() {
    let mut world = World::new();
    world.create(json!({"Name": "Acme", "Tidelock_Id__c": "A-1"}));
    for (fields, expected) in [
        (json!({}), "REQUIRED_FIELD_MISSING"),
        (json!({"Name": "  "}), "REQUIRED_FIELD_MISSING"),
        (json!({"Name": "x", "Nmae": "y"}), "INVALID_FIELD"),
        (json!({"Name": "x", "Id": "001Hs0000000001"}), "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (json!({"Name": "x", "CreatedDate": "2026-01-01T00:00:00Z"}), "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (json!({"Name": "x", "BillingAddress": {"city": "Oslo"}}), "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (json!({"Name": "x", "Tidelock_Id__c": "a-1"}), "DUPLICATE_VALUE"),
        (json!({"Name": "x", "ParentId": "003Hs0000000001"}), "MALFORMED_ID"),
        (json!({"Name": "x", "ParentId": "001Hs0000000099"}), "INVALID_CROSS_REFERENCE_KEY"),
        (json!({"Name": "x", "Parent": {"Tidelock_Id__c": "none"}}), "INVALID_FIELD"),
    ] {
        let answer = world.ask("POST", "sobjects/Account", fields.clone());
        assert_eq!(code(&answer), (400, expected), "{fields}");
    }
    assert_eq!(world.names(), ["Acme"]);
    assert_eq!(
        code(&world.ask("POST", "sobjects/User", json!({"Username": "x"}))),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY")
    );
    assert_eq!(code(&world.ask("POST", "sobjects/Lead", json!({"LastName": "x"}))), (404, "NOT_FOUND"));
}

#[test]
fn upserts_create_update_and_never_choose() {
    let mut world = World::new();
    let mut upsert = |target: &str, fields: Value| world.ask("PATCH", &format!("sobjects/Account/{target}"), fields);
    let (status, created) = upsert("Tidelock_Id__c/A%201", json!({"Name": "Acme"}));
    assert_eq!((status, &created["created"]), (201, &json!(true)));
    let (status, updated) = upsert("Tidelock_Id__c/a%201", json!({"Name": "Apex"}));
    assert_eq!((status, &updated["created"], &updated["id"]), (200, &json!(false), &created["id"]));
    assert_eq!(upsert("Legacy_Id__c/7", json!({"Name": "One"})).0, 201);
    let again = json!({"Name": "Two", "Legacy_Id__c": "7"});
    assert_eq!(code(&upsert("Legacy_Id__c/7", again.clone())), (400, "INVALID_FIELD"));
    assert_eq!(code(&upsert("Nothing__c/7", json!({"Name": "x"}))), (404, "NOT_FOUND"));
    world.create(again);
    let (status, several) = world.ask("PATCH", "sobjects/Account/Legacy_Id__c/7", json!({"Name": "Three"}));
    assert_eq!((status, several.as_array().map(Vec::len)), (300, Some(2)));
    assert_eq!(world.names(), ["Apex", "One", "Two"]);
}

#[test]
fn a_collection_answers_for_each_or_takes_all_back() {
    let mut world = World::new();
    let account = |name: &str| json!({"attributes": {"type": "Account"}, "Name": name});
    let mixed =
        |all_or_none: bool| json!({"allOrNone": all_or_none, "records": [account("One"), account(""), account("Two")]});
    let (status, results) = world.ask("POST", "composite/sobjects", mixed(true));
    let codes: Vec<&Value> =
        results.as_array().unwrap().iter().map(|result| &result["errors"][0]["statusCode"]).collect();
    assert_eq!(status, 200);
    assert_eq!(
        codes,
        ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING", "ALL_OR_NONE_OPERATION_ROLLED_BACK"]
    );
    assert!(world.names().is_empty());
    let (_, results) = world.ask("POST", "composite/sobjects", mixed(false));
    assert_eq!(results[1]["success"], false);
    assert_eq!(world.names(), ["One", "Two"]);
    let many: Vec<Value> = (0..201).map(|_| account("x")).collect();
    assert_eq!(world.ask("POST", "composite/sobjects", json!({"records": many})).0, 400);
    let ids = format!("{},{}", results[0]["id"].as_str().unwrap(), "001Hs0000000099AAA");
    let (_, deleted) = world.ask("DELETE", &format!("composite/sobjects?ids={ids}&allOrNone=true"), Value::Null);
    assert_eq!(deleted[0]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(world.names(), ["One", "Two"]);
}

#[test]
fn a_key_that_was_rolled_back_is_free_again() {
    let mut world = World::new();
    let record = json!({"attributes": {"type": "Account"}, "Name": "One", "Tidelock_Id__c": "7"});
    let body = json!({"allOrNone": true, "records": [record, {"attributes": {"type": "Account"}}]});
    world.ask("POST", "composite/sobjects", body);
    assert_eq!(world.ask("PATCH", "sobjects/Account/Tidelock_Id__c/7", json!({"Name": "New"})).0, 201);
}

#[test]
fn pages_are_read_by_done_and_may_be_short() {
    let mut world = World::new();
    for number in 0..7 {
        world.create(json!({"Name": format!("A{number}")}));
    }
    world.script(json!({"rules": [{"path": "/query", "fault": {"short_page": {"records": 3}}}]}));
    let (_, mut page) = world.get("queryAll?q=SELECT+Name+FROM+Account");
    let mut sizes = vec![page["records"].as_array().unwrap().len()];
    while page["done"] == false {
        let next = page["nextRecordsUrl"].as_str().unwrap().to_owned();
        assert!(next.contains("/query/"), "{next}");
        page = world.get(&next).1;
        sizes.push(page["records"].as_array().unwrap().len());
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(code(&world.get("query/01gHs0000000000099-3")), (400, "INVALID_QUERY_LOCATOR"));
}

#[test]
fn windows_tell_what_changed_and_what_was_deleted() {
    let mut world = World::new();
    world.org.clock.stop(true);
    let (kept, gone) = (world.create(json!({"Name": "Kept"})), world.create(json!({"Name": "Gone"})));
    world.ask("DELETE", &format!("sobjects/Account/{gone}"), Value::Null);
    world.org.clock.advance(2 * MINUTE_MS);
    let now = world.org.clock.now_ms();
    let window = |from: i64| {
        format!("start={}&end={}", datetime(now - from).replace('+', "%2B"), datetime(now).replace('+', "%2B"))
    };
    let minutes = window(5 * MINUTE_MS);
    assert_eq!(world.get(&format!("sobjects/Account/updated/?{minutes}")).1["ids"], json!([kept]));
    let (_, deleted) = world.get(&format!("sobjects/Account/deleted?{minutes}"));
    assert_eq!(deleted["deletedRecords"][0]["id"], gone);
    assert_eq!(
        code(&world.get(&format!("sobjects/Account/deleted?{}", window(16 * DAY_MS)))),
        (400, "INVALID_REPLICATION_DATE")
    );
    world.ask("POST", "/sandbox/deletes/purge", Value::Null);
    let (_, deleted) = world.get(&format!("sobjects/Account/deleted?{minutes}"));
    assert_eq!((&deleted["deletedRecords"], &deleted["earliestDateAvailable"]), (&json!([]), &json!(datetime(now))));
    assert_eq!(world.get("queryAll?q=SELECT+COUNT()+FROM+Account").1["totalSize"], 1);
}

#[test]
fn a_guard_in_whole_seconds_holds_back_a_write() {
    let mut world = World::new();
    world.org.clock.stop(true);
    let id = world.create(json!({"Name": "Acme"}));
    let read = http_date(world.org.clock.now_ms());
    world.org.clock.advance(2000);
    world.headers.insert("if-unmodified-since", read.parse().unwrap());
    let target = format!("sobjects/Account/{id}");
    assert_eq!(world.ask("PATCH", &target, json!({"Name": "Mine"})).0, 204);
    assert_eq!(world.ask("PATCH", &target, json!({"Name": "Late"})).0, 412);
    assert_eq!(world.names(), ["Mine"]);
    world.headers.insert("if-unmodified-since", "yesterday".parse().unwrap());
    assert_eq!(world.ask("PATCH", &target, json!({"Name": "Late"})).0, 400);
}

#[test]
fn sessions_end_and_the_days_requests_too() {
    let mut world = World::new();
    world.org.clock.advance(3 * 60 * MINUTE_MS);
    assert_eq!(code(&world.get("limits")), (401, "INVALID_SESSION_ID"));
    world.log_in();
    assert_eq!(world.get("limits").1["DailyApiRequests"]["Max"], 1000);
    world.org.usage.max = 3;
    let statuses = [world.get("limits").0, world.get("limits").0, world.get("limits").0];
    assert_eq!(statuses, [200, 200, 403]);
    world.org.clock.advance(DAY_MS);
    world.log_in();
    assert_eq!(world.get("limits").0, 200);
}

#[test]
fn every_flow_wants_its_own_proof() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut world = World::new();
    let app = format!("client_id={}&client_secret={}", oauth::CLIENT_ID, oauth::CLIENT_SECRET);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let jwt = |exp: Value| {
        let claims =
            json!({"iss": oauth::CLIENT_ID, "sub": oauth::USERNAME, "aud": "https://login.salesforce.com", "exp": exp});
        let assertion = format!("{}.{}.c2ln", part(json!({"alg": "RS256"})), part(claims));
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}")
    };
    let (refresh, user) = (oauth::REFRESH_TOKEN, oauth::USERNAME);
    for (body, error) in [
        (format!("grant_type=client_credentials&{app}"), None),
        (format!("grant_type=refresh_token&refresh_token={refresh}&client_id={}", oauth::CLIENT_ID), None),
        (format!("grant_type=password&username={user}&password={}&{app}", oauth::PASSWORD), None),
        (jwt(json!(4_000_000_000_i64)), None),
        (jwt(json!("4000000000")), None),
        (jwt(json!(1)), Some("invalid_grant")),
        ("grant_type=client_credentials&client_id=x&client_secret=y".to_owned(), Some("invalid_client_id")),
        (
            format!("grant_type=client_credentials&client_id={}&client_secret=y", oauth::CLIENT_ID),
            Some("invalid_client"),
        ),
        (format!("grant_type=refresh_token&refresh_token=x&{app}"), Some("invalid_grant")),
        (format!("grant_type=password&username={user}&password=x&{app}"), Some("invalid_grant")),
        (format!("grant_type=magic&{app}"), Some("unsupported_grant_type")),
        (app.clone(), Some("invalid_request")),
    ] {
        let served = world.raw("POST", "/services/oauth2/token", body.clone().into_bytes());
        let answer: Value = serde_json::from_slice(&served.answer.body).unwrap();
        assert_eq!(answer["error"].as_str(), error, "{body}");
        assert_eq!(answer["access_token"].is_string(), error.is_none(), "{body}");
    }
}

#[test]
fn faults_strike_before_or_after_the_effect() {
    let mut world = World::new();
    let strike = |world: &mut World, fault: Value| {
        world.script(json!({"rules": [{"method": "POST", "path": "/sobjects/Account", "fault": fault}]}));
        let served = world.raw("POST", "sobjects/Account", br#"{"Name": "x"}"#.to_vec());
        world.script(json!({}));
        (served.answer.status.as_u16(), served.ending)
    };
    assert_eq!(strike(&mut world, json!("dropped_request")).1, Ending::Nothing);
    assert_eq!(strike(&mut world, json!("unavailable")).0, 503);
    assert_eq!(strike(&mut world, json!("request_limit")).0, 403);
    assert_eq!(strike(&mut world, json!({"locked_row": {"share": 1.0}})).0, 400);
    assert!(world.names().is_empty(), "none of these takes effect");
    assert_eq!(strike(&mut world, json!("lost_response")), (201, Ending::Nothing));
    assert_eq!(strike(&mut world, json!("connection_reset")), (201, Ending::Half));
    assert_eq!(strike(&mut world, json!({"late_commit": {"seconds": 90}})).0, 201);
    assert_eq!(world.names().len(), 3, "these do");
    let (_, found) = world.get("query?q=SELECT+SystemModstamp+FROM+Account+ORDER+BY+SystemModstamp");
    assert!(found["records"][0]["SystemModstamp"].as_str() < found["records"][1]["SystemModstamp"].as_str());
    assert_eq!(strike(&mut world, json!("session_expired")).0, 401);
    assert_eq!(world.get("limits").0, 401, "the session is over");
}

#[test]
fn locked_rows_are_told_for_each_record() {
    let mut world = World::new();
    world.script(json!({"seed": 3, "rules": [{"fault": {"locked_row": {"share": 0.5}}}]}));
    let records: Vec<Value> =
        (0..40).map(|number| json!({"attributes": {"type": "Account"}, "Name": format!("A{number}")})).collect();
    let (_, results) = world.ask("POST", "composite/sobjects", json!({"records": records}));
    let locked = results
        .as_array()
        .unwrap()
        .iter()
        .filter(|result| result["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW")
        .count();
    assert!((8..32).contains(&locked), "{locked}");
    assert_eq!(world.names().len(), 40 - locked);
}

#[test]
fn a_composite_refers_to_its_own_answers_and_can_be_taken_back() {
    let mut world = World::new();
    let base = "/services/data/v60.0/sobjects";
    let body = |last_name: &str| {
        json!({"allOrNone": true, "compositeRequest": [
            {"method": "POST", "url": format!("{base}/Account"), "referenceId": "account", "body": {"Name": "Acme"}},
            {"method": "POST", "url": format!("{base}/Contact"), "referenceId": "contact",
                "body": {"LastName": last_name, "AccountId": "@{account.id}"}},
        ]})
    };
    let (_, failed) = world.ask("POST", "composite", body(""));
    assert_eq!(failed["compositeResponse"][0]["body"][0]["errorCode"], "PROCESSING_HALTED");
    assert_eq!(failed["compositeResponse"][1]["body"][0]["errorCode"], "REQUIRED_FIELD_MISSING");
    assert!(world.names().is_empty());
    world.ask("POST", "composite", body("King"));
    let (_, found) = world.get("query?q=SELECT+Account.Name+FROM+Contact");
    assert_eq!(found["records"][0]["Account"]["Name"], "Acme");
}

#[test]
fn the_description_says_what_may_be_written() {
    let mut world = World::new();
    let (_, described) = world.get("sobjects/Account/describe");
    let field =
        |name: &str| described["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).unwrap();
    assert_eq!((&field("Name")["nillable"], &field("Name")["length"]), (&json!(false), &json!(255)));
    assert_eq!((&field("AnnualRevenue")["precision"], &field("AnnualRevenue")["scale"]), (&json!(18), &json!(0)));
    assert_eq!(
        (&field("BillingAddress")["createable"], &field("LastModifiedDate")["updateable"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(field("Tidelock_Id__c")["externalId"], true);
    assert_eq!(world.get("sobjects").1["sobjects"].as_array().unwrap().len(), 3);
    assert_eq!(world.get("/services/data/v30.0/sobjects").0, 410);
    assert_eq!(world.get("/services/data/v99.0/sobjects").0, 404);
}

#[test]
fn people_edit_as_somebody_else_and_faults_leave_them_alone() {
    let mut world = World::new();
    let id = world.create(json!({"Name": "Acme"}));
    world.script(json!({"rules": [{"fault": "unavailable"}]}));
    let form = b"Name=%3Cb%3E&action=save".to_vec();
    assert_eq!(world.raw("POST", &format!("/records/Account/{id}"), form).answer.status, 303);
    let page = String::from_utf8(world.raw("GET", "/?q=b", Vec::new()).answer.body).unwrap();
    assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
    let wrong = world.raw("POST", &format!("/records/Account/{id}"), b"Name=&action=save".to_vec()).answer;
    assert!(wrong.status == 400 && String::from_utf8_lossy(&wrong.body).contains("REQUIRED_FIELD_MISSING"));
    world.script(json!({}));
    let (_, record) = world.get(&format!("sobjects/Account/{id}"));
    assert_ne!(record["LastModifiedById"], record["CreatedById"]);
    assert_eq!(world.ask("DELETE", &format!("/sandbox/records/Account/{id}"), Value::Null).0, 200);
    assert_eq!(world.ask("POST", &format!("/sandbox/records/Account/{id}/undelete"), Value::Null).0, 200);
    assert_eq!(world.names(), ["<b>"]);
}

#[test]
fn the_journal_counts_equal_requests_together_and_holds_no_token() {
    let mut world = World::new();
    let id = world.create(json!({"Name": "Acme"}));
    world.get(&format!("sobjects/Account/{id}"));
    world.get(&format!("sobjects/Account/{id}"));
    let (_, journal) = world.get("/sandbox/journal?since=2");
    assert_eq!(journal["counts"]["GET sobjects/Account"], 2);
    assert_eq!(journal["entries"].as_array().unwrap().len(), 2);
    let token = world.headers["authorization"].to_str().unwrap().to_owned();
    assert!(!journal.to_string().contains(token.trim_start_matches("Bearer ")));
}
