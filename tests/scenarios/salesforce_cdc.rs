//! Salesforce by change data capture, as the sandbox plays it, ↔ a database. Polling is an hour apart: what arrives sooner came by the stream, or by what
//! stands in for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Kind;
use super::salesforce::World;
use crate::harness::Service;

/// The keys that turn it on.
pub fn by_events() -> Value {
    json!({"performance_settings": {"change_detection": "cdc"},
        "sync_settings": {"sync_type": "bidirectional", "ongoing_sync": {"mode": "real_time", "polling_interval_seconds": 3600}}})
}

/// A service that follows the stream.
async fn following(world: &World) -> Service {
    world.sandbox.beside("PUT", "keepalive", &json!({"ms": 100})).await;
    let service = world.tidelock.serve();
    service.ready().await;
    until_subscribed(world, &service, 1).await;
    service
}

/// Waits until there were so many subscriptions, and the last has told its replay id.
async fn until_subscribed(world: &World, service: &Service, count: u64) {
    let begin = Instant::now();
    while world.sandbox.asked_for("RPC Subscribe").await < count {
        assert!(begin.elapsed() < Duration::from_secs(60), "never subscribed: {}", service.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
}

fn industry(name: &str) -> String {
    format!("SELECT industry_type FROM accounts WHERE account_name = '{name}'")
}

const COUNT: &str = "SELECT CAST(count(sf_id) AS TEXT) FROM accounts";

/// Edits one account ten times, each once the one before has arrived.
async fn edits_arrive(world: &World, id: &str, name: &str) {
    let mut times = Vec::new();
    for round in 0..10 {
        let begin = Instant::now();
        world.sandbox.edit("Account", id, json!({"Industry": format!("I{round}")})).await;
        world.database.await_value(&industry(name), &format!("I{round}")).await;
        times.push(begin.elapsed());
    }
    times.sort();
    eprintln!("from an edit in the org to the database, by change events: median {:?}, worst {:?}", times[5], times[9]);
    assert!(times[5] < Duration::from_secs(5), "{times:?}");
}

pub async fn change_events_travel(kind: Kind) {
    let world = World::new(kind, by_events()).await;
    let mut ids = Vec::new();
    for name in ["Acme", "Globex", "Initech"] {
        ids.push(world.create(name).await);
    }
    let mut service = following(&world).await;
    world.database.await_value(COUNT, "3").await;
    edits_arrive(&world, &ids[0], "Acme").await;
    // Several records of one event, and a null.
    let records: Vec<Value> = ids
        .iter()
        .map(|id| json!({"attributes": {"type": "Account"}, "Id": id, "Industry": null, "AnnualRevenue": 7}))
        .collect();
    world.sandbox.asked("PATCH", "composite/sobjects", Some(&json!({"records": records}))).await;
    let revenue = "SELECT CAST(count(*) AS TEXT) FROM accounts WHERE annual_revenue = 7 AND industry_type IS NULL";
    world.database.await_value(revenue, "3").await;
    // A delete that is taken back, a delete for good, and a new one.
    world.sandbox.delete("Account", &ids[1], false).await;
    world.database.await_value(COUNT, "2").await;
    world.sandbox.beside("POST", &format!("records/Account/{}/undelete", ids[1]), &Value::Null).await;
    world.database.await_value(COUNT, "3").await;
    world.sandbox.delete("Account", &ids[2], true).await;
    world.database.await_value(COUNT, "2").await;
    world.create("Hooli").await;
    world.database.await_value(COUNT, "3").await;
    // A field that no mapping names costs no request.
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    world.sandbox.edit("Account", &ids[0], json!({"Phone": "1"})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.sandbox.requests().await, (0, 0), "{}", service.log());
    assert_eq!(service.stop(), 0, "{}", service.log());
    world.settled(3).await;
}

pub async fn echoes_end_and_a_triggers_change_flows(kind: Kind) {
    let world = World::new(kind, by_events()).await;
    world.create("Acme").await;
    world.insert(&["Globex"]).await;
    let mut service = following(&world).await;
    world.database.await_value(COUNT, "2").await;
    let triggers = json!([{"object": "Account", "when": "AnnualRevenue", "set": {"Industry": "Energy"}}]);
    world.sandbox.beside("PUT", "triggers", &triggers).await;
    world.database.execute("UPDATE accounts SET annual_revenue = 12 WHERE account_name = 'Globex'").await;
    world.database.await_value(&industry("Globex"), "Energy").await;
    // From here on it hears what it has written itself, and writes no more.
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    let changed = world.sandbox.rows("SELECT SystemModstamp FROM Account ORDER BY Id").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(world.sandbox.requests().await.1, 0, "{}", service.log());
    assert_eq!(world.sandbox.rows("SELECT SystemModstamp FROM Account ORDER BY Id").await, changed);
    assert_eq!(service.stop(), 0, "{}", service.log());
    world.sandbox.beside("PUT", "triggers", &json!([])).await;
    world.settled(2).await;
}

pub async fn gaps_overflows_and_outages_lose_nothing(kind: Kind) {
    let world = World::new(kind, by_events()).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(world.create(&format!("Account {number}")).await);
    }
    let mut service = following(&world).await;
    world.database.await_value(COUNT, "20").await;
    let edit = async |place: usize, value: &str| {
        world.sandbox.edit("Account", &ids[place], json!({"Industry": value})).await;
        world.database.await_value(&industry(&format!("Account {place}")), value).await;
    };
    world.faults(json!([{"method": "PUBLISH", "nth": 1, "fault": "gap_event"}, {"method": "PUBLISH", "nth": 2, "fault": "overflow_event"}])).await;
    edit(0, "Gap").await;
    edit(1, "Overflow").await;
    assert!(service.log().contains("names no records"), "{}", service.log());
    // Sessions end, streams break off, between and within transactions; some calls are refused, and one place is not known any more.
    for (place, rule) in [
        json!({"method": "EVENT", "nth": 1, "fault": "session_expired"}),
        json!({"method": "EVENT", "nth": 1, "fault": "connection_reset"}),
        json!({"method": "EVENT", "nth": 1, "fault": "unavailable"}),
    ]
    .into_iter()
    .enumerate()
    {
        world.faults(json!([rule, {"method": "RPC", "path": "Subscribe", "nth": 1, "fault": "unavailable"}])).await;
        edit(2 + place, "Again").await;
    }
    world
        .faults(json!([
            {"method": "EVENT", "nth": 6, "fault": "connection_reset"}, {"method": "EVENT", "nth": 9, "fault": "session_expired"},
            {"method": "RPC", "path": "Subscribe", "nth": 2, "fault": "corrupted_replay"},
        ]))
        .await;
    let records: Vec<Value> = ids
        .iter()
        .enumerate()
        .map(|(place, id)| json!({"attributes": {"type": "Account"}, "Id": id, "AnnualRevenue": place + 1}))
        .collect();
    world.sandbox.asked("PATCH", "composite/sobjects", Some(&json!({"records": records}))).await;
    let all = "SELECT CAST(count(*) AS TEXT) FROM accounts WHERE annual_revenue > 0";
    world.database.await_value(all, "20").await;
    edit(19, "Last").await;
    world.faults(json!([])).await;
    assert!(service.log().contains("salesforce.replay_lost"), "{}", service.log());
    assert_eq!(service.stop(), 0, "{}", service.log());
    world.settled(20).await;
}

/// Stopped for longer than events are kept.
pub async fn a_replay_id_that_is_too_old_is_made_up_for(kind: Kind) {
    let world = World::new(kind, by_events()).await;
    let mut ids = Vec::new();
    for name in ["Acme", "Globex", "Initech", "Hooli"] {
        ids.push(world.create(name).await);
    }
    let mut service = following(&world).await;
    world.database.await_value(COUNT, "4").await;
    world.sandbox.edit("Account", &ids[0], json!({"Industry": "Banking"})).await;
    world.database.await_value(&industry("Acme"), "Banking").await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    world.sandbox.edit("Account", &ids[0], json!({"Industry": "Energy"})).await;
    world.sandbox.delete("Account", &ids[1], false).await;
    world.sandbox.delete("Account", &ids[2], true).await;
    world.database.execute("UPDATE accounts SET annual_revenue = 5 WHERE account_name = 'Hooli'").await;
    world.sandbox.beside("POST", "clock", &json!({"advance_seconds": 4 * 86_400})).await;
    let before = world.sandbox.asked_for("RPC Subscribe").await;
    let mut service = world.tidelock.serve();
    service.ready().await;
    until_subscribed(&world, &service, before + 2).await;
    world.database.await_value(&industry("Acme"), "Energy").await;
    world.database.await_value(COUNT, "2").await;
    assert!(service.log().contains("salesforce.replay_lost"), "{}", service.log());
    world.sandbox.edit("Account", &ids[0], json!({"Industry": "Retail"})).await;
    world.database.await_value(&industry("Acme"), "Retail").await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    world.settled(2).await;
}

pub async fn an_object_without_events_is_told(kind: Kind) {
    let world = World::new(kind, by_events()).await;
    world.database.execute("CREATE TABLE people (id VARCHAR(18) PRIMARY KEY, name VARCHAR(121))").await;
    world.configure(json!({
        "source": world.sandbox.endpoint("User", &Value::Null), "target": world.database.endpoint("erp", "people"), "sync_type": "one_way",
        "field_mappings": [{"source": "Id", "target": "id"}, {"source": "Name", "target": "name"}],
        "performance_settings": {"change_detection": "cdc"},
    }));
    let ran = world.tidelock.once(1);
    let said = ran.lines.iter().map(Value::to_string).collect::<String>() + &ran.errors;
    assert!(said.contains("salesforce.no_channel") && said.contains("/data/UserChangeEvent"), "{said}");
}
