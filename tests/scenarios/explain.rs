//! What `tidelock explain` tells: every write and conflict about a record, nothing about others, no matter by whose key it is asked.

use serde_json::{Value, json};

use super::{Kind, Setup};

fn explained(setup: &Setup, arguments: &[&str]) -> Value {
    let mut ran = setup.tidelock.run(&[&["explain", "customers"], arguments, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.errors);
    ran.lines.remove(0)
}

fn entries<'a>(of: &'a Value, what: &str) -> Vec<&'a Value> {
    of["history"].as_array().unwrap().iter().filter(|entry| entry["what"] == what).collect()
}

/// Side and operation of each write, newest first.
fn writes(of: &Value) -> Vec<String> {
    let write = |entry: &&Value| format!("{} {}", entry["side"].as_str().unwrap(), entry["op"].as_str().unwrap());
    entries(of, "write").iter().map(write).collect()
}

pub async fn every_write_and_conflict_is_explained(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional",
        "conflict_resolution": {"strategy": "system_priority", "priority_system": "erp"}}));
    setup.source.execute("INSERT INTO customers (id, name, city) VALUES (1, 'Ada', 'Bonn'), (2, 'Bob', 'Bonn')").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET city = 'Aachen' WHERE id = 1").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET name = 'Ida' WHERE id = 1").await;
    setup.target.execute("UPDATE clients SET full_name = 'Eda' WHERE client_id = 1").await;
    setup.tidelock.once(0);

    let whole = explained(&setup, &["1"]);
    assert_eq!(writes(&whole), ["source update", "target update", "target create"], "{whole}");
    assert_eq!(whole["link"], json!({"source": "1", "target": "1"}));
    assert_eq!(whole["agreed"]["source"]["name"], "Eda");
    let updates = entries(&whole, "write");
    assert_eq!((&updates[0]["fields"], &updates[1]["fields"]), (&json!(["name"]), &json!(["town"])));
    assert_eq!(updates[1]["from"]["side"], "source");
    assert!(updates[1]["from"]["position"].is_string(), "{whole}");
    let conflicts = entries(&whole, "conflict");
    assert_eq!(conflicts.len(), 1, "{whole}");
    let conflict = conflicts[0];
    assert_eq!(
        (&conflict["kind"], &conflict["field"], &conflict["winner"]),
        (&json!("update_update"), &json!("full_name"), &json!("target"))
    );
    assert_eq!(
        (&conflict["base"], &conflict["source"], &conflict["target"]),
        (&json!("Ada"), &json!("Ida"), &json!("Eda"))
    );
    assert_eq!(conflict["settled"], true);

    one_field(&setup);
    deleted_and_unknown(&setup).await;
}

fn one_field(setup: &Setup) {
    // One field: creates are about every field, updates of others are not told.
    let town = explained(setup, &["1", "town"]);
    assert_eq!(writes(&town), ["target update", "target create"], "{town}");
    assert!(entries(&town, "conflict").is_empty());
    let by_source = explained(setup, &["1", "city", "--config", "sync.json"]);
    assert_eq!(writes(&by_source), ["target update", "target create"], "{by_source}");
    assert!(by_source["functions"]["city → town"].is_object(), "{by_source}");
    assert_eq!(writes(&explained(setup, &["2", "--side", "target"])), ["target create"]);
}

async fn deleted_and_unknown(setup: &Setup) {
    // A deleted record is still known, one that never was is not.
    setup.source.execute("DELETE FROM customers WHERE id = 2").await;
    setup.tidelock.once(0);
    let deleted = explained(setup, &["2"]);
    assert_eq!(
        (writes(&deleted), &deleted["deleted"]),
        (vec!["target delete".to_owned(), "target create".to_owned()], &json!(true))
    );
    assert_eq!(setup.tidelock.run(&["explain", "customers", "3", "--json"]).code, 1);
    let text = setup.tidelock.command(&["explain", "customers", "1"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("target wins by system_priority"), "{text}");
}

/// A write that was done, and whose commit a crash prevented, is told as every other; one that was not done is not.
pub async fn what_a_crash_left_open_is_explained(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET city = 'Aachen' WHERE id = 1").await;
    setup.dies_at("batch.written_target");
    // Put back: without the write on record that would be no edit, and both sides would differ.
    setup.source.execute("UPDATE customers SET city = NULL WHERE id = 1").await;
    setup.dies_at("batch.intended");
    setup.tidelock.once(0);
    setup.settled().await;
    let whole = explained(&setup, &["1"]);
    assert_eq!(writes(&whole), ["target update", "target update", "target create"], "{whole}");
    assert!(entries(&whole, "conflict").is_empty(), "{whole}");
}

pub async fn a_copy_is_explained_too(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET name = 'Ida' WHERE id = 1; DELETE FROM customers WHERE id = 2").await;
    setup.tidelock.once(0);
    assert_eq!(writes(&explained(&setup, &["1"])), ["target upsert", "target upsert"]);
    assert_eq!(writes(&explained(&setup, &["2"])), ["target delete", "target upsert"]);
    // Nothing is added where nothing is written.
    setup.tidelock.once(0);
    assert_eq!(writes(&explained(&setup, &["1"])).len(), 2);
}
