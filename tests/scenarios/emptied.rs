//! What must not be carried out unasked: a table that is emptied or made anew, a record that only leaves the filter, a loop of two pairs.

use serde_json::{Value, json};

use super::reformat::contradiction;
use super::{Kind, Setup};

const SOURCE: &str = "SELECT CAST(count(*) AS TEXT) FROM customers";
const TARGET: &str = "SELECT CAST(count(*) AS TEXT) FROM clients";

/// Thirty records that both sides have.
async fn agreed(kinds: (Kind, Kind), more: Value) -> Setup {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    for (database, table) in [(&setup.source, "customers"), (&setup.target, "clients")] {
        database.execute(&format!("ALTER TABLE {table} ADD COLUMN deleted_at TIMESTAMP")).await;
    }
    setup.configure(more);
    let rows: Vec<String> = (1..=30).map(|id| format!("({id}, 'n{id}', 'Ulm')")).collect();
    setup.source.execute(&format!("INSERT INTO customers (id, name, city) VALUES {}", rows.join(", "))).await;
    setup.tidelock.once(0);
    setup
}

async fn counts(setup: &Setup) -> [String; 2] {
    [setup.source.value(SOURCE).await.unwrap(), setup.target.value(TARGET).await.unwrap()]
}

/// So many deletes wait.
fn guarded(setup: &Setup, count: usize) {
    let listed = setup.review(0, &["list", "--kind", "delete_guard"]).lines;
    let told: Vec<String> = listed.iter().map(|one| format!("{} {}", one["key"], one["code"])).collect();
    assert_eq!(listed.len(), count, "{told:?}");
    assert!(listed.iter().all(|one| one["code"] == "record.guarded" && one["pair"] == "customers"), "{told:?}");
    assert!(
        listed.iter().all(|one| one["other_key"] == one["key"]),
        "who decides sees which record would go: {listed:?}"
    );
}

/// Both ways of a person: the deletes are meant, or the records are restored.
async fn decide(setup: &Setup, take: &str) {
    let all = ["resolve", "--kind", "delete_guard", "--all", "--take", take, "--wait", "--config", "sync.json"];
    setup.review(0, &all);
    guarded(setup, 0);
    setup.tidelock.once(0);
    setup.settled().await;
}

/// No trigger sees what went: the pair stops with one of these codes, until a person asks for a full comparison.
async fn resync(setup: &Setup, codes: &[&str]) {
    let ran = setup.tidelock.once(1);
    let code = ran.lines[0]["error"]["code"].as_str().unwrap_or_default();
    assert!(codes.contains(&code), "{}", ran.lines[0]);
    assert_eq!(counts(setup).await, ["0", "30"]);
    assert_eq!(setup.tidelock.run(&["resync", "customers"]).code, 0);
}

pub async fn an_emptied_table_empties_nothing(kinds: (Kind, Kind)) {
    let setup = agreed(kinds, json!({"sync_type": "bidirectional"})).await;
    if kinds.0.is_postgres() || matches!(kinds.0, Kind::MysqlLog) {
        setup.source.execute("TRUNCATE customers").await;
        resync(&setup, &["source.truncated"]).await;
    } else {
        setup.source.execute("DELETE FROM customers").await;
    }
    setup.source.execute("INSERT INTO customers (id, name) VALUES (100, 'new')").await;
    let ran = setup.tidelock.once(1);
    assert_eq!(ran.number("written_target"), 1, "everything else flows: {}", ran.lines[0]);
    assert_eq!(counts(&setup).await, ["1", "31"]);
    guarded(&setup, 30);
    // Nor do they go later on.
    setup.tidelock.once(1);
    assert_eq!(counts(&setup).await, ["1", "31"]);
    decide(&setup, "target").await;
    assert_eq!(counts(&setup).await, ["31", "31"]);
}

pub async fn a_table_made_anew_empties_nothing(kinds: (Kind, Kind)) {
    let setup = agreed(kinds, json!({"sync_type": "bidirectional"})).await;
    setup.source.execute("DROP TABLE customers").await;
    let columns =
        "id INTEGER PRIMARY KEY, name TEXT, phone TEXT, city TEXT, updated_at TIMESTAMP, deleted_at TIMESTAMP";
    setup.source.execute(&format!("CREATE TABLE customers ({columns})")).await;
    resync(&setup, &["source.tracking_lost", "source.stream_lost"]).await;
    setup.tidelock.once(1);
    assert_eq!(counts(&setup).await, ["0", "30"]);
    guarded(&setup, 30);
    decide(&setup, "source").await;
    assert_eq!(counts(&setup).await, ["0", "0"]);
}

/// A copy has no links to count; what its stream tells is counted all the same.
pub async fn a_copy_is_not_emptied(kinds: (Kind, Kind)) {
    let setup = agreed(kinds, json!({"sync_type": "one_way"})).await;
    setup.source.execute("DELETE FROM customers WHERE id <= 12").await;
    setup.tidelock.once(1);
    assert_eq!(counts(&setup).await, ["18", "30"]);
    guarded(&setup, 12);
    decide(&setup, "source").await;
    assert_eq!(counts(&setup).await, ["18", "18"]);
}

/// Few deletes are carried out at once, and all of them where the guard is off.
pub async fn the_guard_is_no_hindrance(kinds: (Kind, Kind)) {
    let setup = agreed(kinds, json!({"sync_type": "bidirectional"})).await;
    setup.source.execute("DELETE FROM customers WHERE id <= 5").await;
    setup.target.execute("DELETE FROM clients WHERE client_id > 25").await;
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(counts(&setup).await, ["20", "20"]);
    setup.configure(json!({"sync_type": "bidirectional", "delete_guard": false}));
    setup.source.execute("DELETE FROM customers").await;
    setup.tidelock.once(0);
    assert_eq!(counts(&setup).await, ["0", "0"]);
}

pub async fn a_delete_leaves_a_mark(kinds: (Kind, Kind)) {
    let soft = json!({"soft_delete": {"field": "deleted_at"}});
    for sync_type in ["bidirectional", "one_way"] {
        let setup = agreed(kinds, json!({"sync_type": sync_type, "deletes": soft})).await;
        let marked = "SELECT CAST(count(deleted_at) AS TEXT) FROM clients WHERE client_id = 1";
        setup.source.execute("DELETE FROM customers WHERE id = 1").await;
        setup.tidelock.once(0);
        assert_eq!(setup.target.value(marked).await.as_deref(), Some("1"));
        assert_eq!(counts(&setup).await, ["29", "30"]);
        setup.quiet();
        // Its later edits do not bring it back (I7).
        setup.target.execute("UPDATE clients SET phone = '9' WHERE client_id = 1").await;
        setup.quiet();
        assert_eq!(counts(&setup).await, ["29", "30"]);
        // A new record of that key does.
        setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'again')").await;
        setup.tidelock.once(0);
        let back =
            setup.target.rows("SELECT full_name, CAST(deleted_at AS TEXT) FROM clients WHERE client_id = 1").await;
        assert_eq!(back, [[Some("again".to_owned()), None]], "{sync_type}");
        setup.quiet();
    }
}

pub async fn a_mark_taken_away_brings_the_record_back(kinds: (Kind, Kind)) {
    let more = json!({"sync_type": "bidirectional", "deletes": {"soft_delete": {"field": "deleted_at"}}});
    let setup = agreed(kinds, more).await;
    setup.target.execute("DELETE FROM clients WHERE client_id = 2").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET deleted_at = NULL WHERE id = 2").await;
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(counts(&setup).await, ["30", "30"]);
}

pub async fn a_record_that_leaves_the_filter_stays(kinds: (Kind, Kind)) {
    for sync_type in ["bidirectional", "one_way"] {
        let setup = agreed(kinds, json!({"sync_type": sync_type, "filter": {"source": "city = 'Ulm'"}})).await;
        setup.source.execute("UPDATE customers SET city = 'Bonn', name = 'gone' WHERE id <= 20").await;
        setup.tidelock.once(0);
        assert_eq!(counts(&setup).await, ["30", "30"], "{sync_type}");
        let name = "SELECT full_name FROM clients WHERE client_id = 1";
        assert_eq!(setup.target.value(name).await.as_deref(), Some("n1"), "what is outside does not flow");
        // A real delete is one still, and what comes back is updated, not doubled.
        setup
            .source
            .execute(
                "DELETE FROM customers WHERE id = 30; UPDATE customers SET city = 'Ulm', name = 'back' WHERE id = 1",
            )
            .await;
        setup.tidelock.once(0);
        assert_eq!(counts(&setup).await, ["29", "29"], "{sync_type}");
        assert_eq!(setup.target.value(name).await.as_deref(), Some("back"));
        setup.quiet();
    }
}

pub async fn a_record_that_leaves_the_filter_is_deleted_on_request(kinds: (Kind, Kind)) {
    let filter = json!({"source": "city = 'Ulm'", "on_exit": "delete"});
    let setup = agreed(kinds, json!({"sync_type": "bidirectional", "filter": filter})).await;
    setup.source.execute("UPDATE customers SET city = 'Bonn' WHERE id = 1").await;
    setup.tidelock.once(0);
    assert_eq!(counts(&setup).await, ["30", "29"]);
    setup.quiet();
}

/// Without an end, were it not for the breaker; other records flow.
pub async fn a_record_that_goes_back_and_forth_is_stopped(kinds: (Kind, Kind)) {
    let setup = contradiction(kinds, "bidirectional", true).await;
    setup.tidelock.once(1);
    let listed = setup.review(0, &["list", "--kind", "loop"]).lines;
    assert!(!listed.is_empty());
    assert!(listed.iter().all(|one| one["code"] == "record.loop" && one["key"] == "1"), "{listed:?}");
    assert_eq!(setup.target.value("SELECT phone FROM clients WHERE client_id = 2").await.as_deref(), Some("other"));
}
