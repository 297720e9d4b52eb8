//! The same field edited on both sides: settled by the policy, field by field, on record.

use serde_json::{Value, json};

use super::{Kind, Setup};

/// Edits `name`, `phone` and `city` of one record on both sides, the target's later, and returns what both sides then have.
async fn settle(kinds: (Kind, Kind), policy: Value) -> Vec<Option<String>> {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "conflict_resolution": policy}));
    setup.source.execute("INSERT INTO customers (id, name, phone, city) VALUES (1, 'n', 'p', 'c')").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET name = 'source', phone = 'source', city = 'source', updated_at = '2026-01-02 00:00:00' WHERE id = 1").await;
    setup.source.await_value(&later(kinds.0), "1").await;
    setup.target.execute("UPDATE clients SET full_name = 'target', phone = 'target', town = 'target', updated_at = '2026-01-01 00:00:00' WHERE client_id = 1").await;
    let ran = setup.tidelock.once(0);
    assert_eq!(ran.number("conflicts"), 3, "{}", ran.lines[0]);
    setup.settled().await;
    setup.contents().await.0.remove(0).split_off(1)
}

/// Waits past the change tables' clock resolution.
fn later(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => "SELECT CAST(max(at) < CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) - 20000 AS TEXT) FROM tidelock_changes_customers",
        Kind::Mysql => "SELECT CAST(max(at) < UTC_TIMESTAMP(6) - INTERVAL 20000 MICROSECOND AS TEXT) FROM tidelock_changes_customers",
        // The log has whole seconds.
        Kind::MysqlLog => "SELECT CAST(1 - SLEEP(1.02) AS CHAR)",
        // Nothing keeps the time: as long as the others' clocks need.
        Kind::PostgresLog => "SELECT '1' FROM pg_sleep(0.02)",
        Kind::Postgres => "SELECT CASE WHEN max(at) < clock_timestamp() - interval '20 ms' THEN '1' ELSE '0' END FROM tidelock_changes_customers",
    }
    .to_owned()
}

fn texts(values: [&str; 3]) -> Vec<Option<String>> {
    values.map(|value| Some(value.to_owned())).to_vec()
}

pub async fn last_write_wins_by_commit_time(kinds: (Kind, Kind)) {
    assert_eq!(settle(kinds, json!("last_write_wins")).await, texts(["target", "target", "target"]));
}

pub async fn last_write_wins_by_timestamp_field(kinds: (Kind, Kind)) {
    let policy = json!({"strategy": "last_write_wins", "timestamp_field": "updated_at"});
    assert_eq!(settle(kinds, policy).await, texts(["source", "source", "source"]));
}

pub async fn a_system_has_priority(kinds: (Kind, Kind)) {
    let policy = json!({"strategy": "system_priority", "priority_system": "crm"});
    assert_eq!(settle(kinds, policy).await, texts(["source", "source", "source"]));
}

pub async fn fields_have_rules_of_their_own(kinds: (Kind, Kind)) {
    let policy = json!({"strategy": "field_level_priority", "field_rules": [
        {"field": "name", "priority_system": "crm"},
        {"field": "phone", "priority_system": "erp"},
        {"field": "city", "priority_system": "last_updated"},
    ]});
    assert_eq!(settle(kinds, policy).await, texts(["source", "target", "target"]));
}

/// A delete against a later edit: the edit wins; against an earlier one, the delete.
pub async fn delete_against_update(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    setup.tidelock.once(0);
    setup.source.execute("DELETE FROM customers WHERE id = 1; UPDATE customers SET name = 'Rob' WHERE id = 2").await;
    setup.source.await_value(&later(kinds.0), "1").await;
    setup
        .target
        .execute("UPDATE clients SET full_name = 'Eda' WHERE client_id = 1; DELETE FROM clients WHERE client_id = 2")
        .await;
    let ran = setup.tidelock.once(0);
    assert_eq!(ran.number("conflicts"), 2, "{}", ran.lines[0]);
    setup.settled().await;
    assert_eq!(setup.contents().await.0, [[Some("1".to_owned()), Some("Eda".to_owned()), None, None]]);
}
