//! What a transaction is told as: the header of each event. The payload is held by another's decoder, in tests/clients.

use serde_json::{Value, json};

use super::super::exchange::Request;
use super::super::faults::Faults;
use super::super::faults::Script;
use super::super::oauth;
use super::super::org::Org;
use super::bus::Start;
use axum::http::HeaderMap;

struct World {
    org: Org,
    headers: HeaderMap,
    seen: u64,
}

impl World {
    fn new() -> Self {
        let org = Org::new("http://127.0.0.1:1".to_owned(), 1000, Script::default());
        let mut world = Self { org, headers: HeaderMap::new(), seen: 0 };
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            oauth::CLIENT_ID,
            oauth::CLIENT_SECRET
        );
        let (_, granted) = world.send("POST", "/services/oauth2/token", body.into_bytes());
        let token = format!("Bearer {}", granted["access_token"].as_str().unwrap());
        world.headers.insert("authorization", token.parse().unwrap());
        world.headers.insert("sforce-call-options", "client=test".parse().unwrap());
        world.org.begin();
        world
    }

    fn send(&mut self, method: &str, target: &str, body: Vec<u8>) -> (u16, Value) {
        let answer = self.org.serve(&Request::new(method, target, self.headers.clone(), body)).answer;
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn ask(&mut self, method: &str, target: &str, body: Value) -> Value {
        let (status, answer) =
            self.send(method, &format!("/services/data/v60.0/{target}"), body.to_string().into_bytes());
        assert!(status < 300, "{answer}");
        answer
    }

    fn create(&mut self, fields: Value) -> String {
        self.ask("POST", "sobjects/Account", fields)["id"].as_str().unwrap().to_owned()
    }

    /// The headers of the events since the last look.
    fn told(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        while let Some((replay, event)) = self.org.bus.after(self.seen, None) {
            told.push(serde_json::from_str(&event.told).unwrap());
            self.seen = replay;
        }
        told
    }

    fn types(&mut self) -> Vec<String> {
        self.told().iter().map(|header| header["changeType"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn each_commit_is_told_with_its_maker() {
    let mut world = World::new();
    let id = world.create(json!({"Name": "Acme"}));
    let told = world.told();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["changeType"], &told[0]["recordIds"]), (&json!("CREATE"), &json!([id])));
    assert_eq!(told[0]["changeOrigin"], "com/salesforce/api/rest/60.0;client=test");
    world.send("PATCH", &format!("/sandbox/records/Account/{id}"), br#"{"Phone": "1"}"#.to_vec());
    let told = world.told();
    assert_eq!(told[0]["changeOrigin"], "");
    assert_ne!(told[0]["commitUser"], world.org.integration.as_str());
    world.ask("GET", &format!("sobjects/Account/{id}"), Value::Null);
    assert!(world.told().is_empty(), "reading changes nothing");
}

#[test]
fn what_was_taken_back_is_not_told_and_equal_changes_are_one_event() {
    let mut world = World::new();
    let ids = ["a", "b", "c"].map(|name| world.create(json!({"Name": name})));
    world.told();
    let records = |fields: &[Value]| -> Vec<Value> {
        let record = |(id, fields): (&String, &Value)| {
            let mut record = fields.clone();
            record["Id"] = json!(id);
            record["attributes"] = json!({"type": "Account"});
            record
        };
        ids.iter().zip(fields).map(record).collect()
    };
    let wrong = records(&[json!({"Phone": "1"}), json!({"Tier__c": "None"})]);
    world.ask("PATCH", "composite/sobjects", json!({"allOrNone": true, "records": wrong}));
    assert!(world.told().is_empty());
    let mixed = records(&[json!({"Phone": "1"}), json!({"Phone": "1"}), json!({"Phone": "2"})]);
    world.ask("PATCH", "composite/sobjects", json!({"records": mixed}));
    let told = world.told();
    assert_eq!(
        told.iter().map(|header| &header["recordIds"]).collect::<Vec<_>>(),
        [&json!(ids[..2]), &json!(ids[2..])]
    );
    assert_eq!((&told[0]["sequenceNumber"], &told[1]["sequenceNumber"]), (&json!(1), &json!(2)));
    assert_eq!(told[0]["transactionKey"], told[1]["transactionKey"]);
}

#[test]
fn deletes_undeletes_gaps_and_overflows_are_told() {
    let mut world = World::new();
    let id = world.create(json!({"Name": "Acme"}));
    world.ask("DELETE", &format!("sobjects/Account/{id}"), Value::Null);
    world.send("POST", &format!("/sandbox/records/Account/{id}/undelete"), Vec::new());
    assert_eq!(world.types(), ["CREATE", "DELETE", "UNDELETE"]);
    let script = json!({"rules": [{"method": "PUBLISH", "nth": 1, "fault": "gap_event"}, {"method": "PUBLISH", "nth": 2, "fault": "overflow_event"},
        {"fault": {"delay": {"ms": 1}}}]});
    world.org.faults = Faults::new(serde_json::from_value(script).unwrap());
    world.ask("PATCH", &format!("sobjects/Account/{id}"), json!({"Name": "Apex"}));
    world.ask("PATCH", &format!("sobjects/Account/{id}"), json!({"Name": "Zenith"}));
    let told = world.told();
    assert_eq!((&told[0]["changeType"], &told[0]["changedFields"]), (&json!("GAP_UPDATE"), &json!([])));
    assert_eq!(
        (&told[1]["changeType"], &told[1]["recordIds"]),
        (&json!("GAP_OVERFLOW"), &json!(["000000000000000AAA"]))
    );
    world.send("DELETE", &format!("/sandbox/records/Account/{id}?hard=true"), Vec::new());
    assert_eq!(world.types(), ["DELETE"]);
}

#[test]
fn long_texts_are_sent_as_differences() {
    let mut world = World::new();
    let id = world.create(json!({"Name": "Acme", "Description": "a".repeat(1000)}));
    world.told();
    world.ask("PATCH", &format!("sobjects/Account/{id}"), json!({"Description": "b".repeat(1000)}));
    let told = world.told();
    assert_ne!(told[0]["diffFields"], json!([]));
    world.ask("PATCH", &format!("sobjects/Account/{id}"), json!({"Description": null}));
    let told = world.told();
    assert_eq!((&told[0]["diffFields"], told[0]["nulledFields"] == json!([])), (&json!([]), false));
}

#[test]
fn triggers_write_in_the_same_transaction() {
    let mut world = World::new();
    let (status, _) = world.send(
        "PUT",
        "/sandbox/triggers",
        br#"[{"object": "Account", "when": "Phone", "set": {"Rating": "Hot"}}]"#.to_vec(),
    );
    assert_eq!(status, 204);
    let id = world.create(json!({"Name": "Acme", "Phone": "1"}));
    assert_eq!(world.types(), ["CREATE"]);
    assert_eq!(world.ask("GET", &format!("sobjects/Account/{id}"), Value::Null)["Rating"], "Hot");
}

#[test]
fn events_are_kept_for_three_days_of_the_sandboxs_time() {
    let mut world = World::new();
    world.create(json!({"Name": "Acme"}));
    world.send("POST", "/sandbox/clock", br#"{"advance_seconds": 259201}"#.to_vec());
    let place = world.org.bus.place(&Start::Earliest).unwrap();
    assert!(world.org.bus.after(place, None).is_none());
}
