//! Rules, record transforms and resolvers of the standard plugins, end to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Kind, Setup};

const NAMES: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, full_name TEXT, email TEXT, tags TEXT)";
const SPLIT: &str =
    "CREATE TABLE clients (client_id INTEGER PRIMARY KEY, first_name TEXT, last_name TEXT, email TEXT, tags TEXT)";

async fn setup(kinds: (Kind, Kind), more: Value) -> Setup {
    let setup = Setup::new(kinds).await;
    setup.source.execute(NAMES).await;
    setup.target.execute(SPLIT).await;
    let mut config = json!({
        "field_mappings": [
            {"source": "id", "target": "client_id"},
            {"source": "email", "target": "email"},
            {"source": "tags", "target": "tags"},
        ],
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    setup.configure(config);
    setup
}

fn names() -> Value {
    json!([
        {"function": "split_name"},
        {"function": "merge_name", "direction": "target_to_source"},
    ])
}

async fn people(setup: &Setup) -> Vec<String> {
    let sql = "SELECT first_name || '|' || last_name FROM clients ORDER BY client_id";
    setup.target.rows(sql).await.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

/// A record that a rule refuses reaches no target, whole; the others do; a valid edit clears its review.
pub async fn rules_keep_records_out(kinds: (Kind, Kind)) {
    for sync_type in ["one_way", "bidirectional"] {
        let rules = json!([
            {"field": "email", "rule": "email_format"},
            {"field": "tags", "rule": "length", "max": 5, "on_error": "warn"},
        ]);
        let setup = setup(kinds, json!({"sync_type": sync_type, "validation_rules": rules})).await;
        let insert = "INSERT INTO customers (id, email, tags) VALUES (1, 'ada@example.org', 'much-too-long'), (2, 'nobody', 'x')";
        setup.source.execute(insert).await;
        let ran = setup.tidelock.once(1);
        assert_eq!(
            (ran.number("rejected"), ran.number("reviews"), ran.number("written_target")),
            (1, 1, 1),
            "{}",
            ran.lines[0]
        );
        assert_eq!(ran.number("warnings"), 1, "{}", ran.lines[0]);
        assert_eq!(setup.target.rows("SELECT CAST(client_id AS TEXT) FROM clients").await, [[Some("1".to_owned())]]);
        let audit = setup.tidelock.audit(0);
        assert_eq!((audit.number("matching"), audit.number("in_review")), (1, 1), "{}", audit.lines[0]);
        setup.source.execute("UPDATE customers SET email = 'bob@example.org' WHERE id = 2").await;
        let ran = setup.tidelock.once(0);
        assert_eq!((ran.number("reviews"), ran.number("written_target")), (0, 1), "{}", ran.lines[0]);
        assert_eq!(setup.tidelock.audit(0).number("matching"), 2);
        setup.quiet();
    }
}

/// `full_name` here, `first_name` and `last_name` there: edits flow both ways, edits of both sides are one recorded conflict, and nothing
/// is written at rest.
pub async fn computed_fields_flow_both_ways(kinds: (Kind, Kind)) {
    let policy = json!({"strategy": "system_priority", "priority_system": "erp"});
    let more = json!({"sync_type": "bidirectional", "record_transforms": names(), "conflict_resolution": policy});
    let setup = setup(kinds, more).await;
    setup.source.execute("INSERT INTO customers (id, full_name) VALUES (1, 'Ada Lovelace')").await;
    setup.target.execute("INSERT INTO clients (client_id, first_name, last_name) VALUES (2, 'Alan', 'Turing')").await;
    setup.tidelock.once(0);
    assert_eq!(people(&setup).await, ["Ada|Lovelace", "Alan|Turing"]);
    let full = "SELECT full_name FROM customers WHERE id = ";
    assert_eq!(setup.source.value(&format!("{full}2")).await.as_deref(), Some("Alan Turing"));
    setup.quiet();

    setup.source.execute("UPDATE customers SET full_name = 'Ada King' WHERE id = 1").await;
    setup.target.execute("UPDATE clients SET first_name = 'A. M.' WHERE client_id = 2").await;
    assert_eq!(setup.tidelock.once(0).number("conflicts"), 0);
    assert_eq!(people(&setup).await[0], "Ada|King");
    assert_eq!(setup.source.value(&format!("{full}2")).await.as_deref(), Some("A. M. Turing"));

    setup.source.execute("UPDATE customers SET full_name = 'Augusta King' WHERE id = 1").await;
    setup.target.execute("UPDATE clients SET last_name = 'Byron' WHERE client_id = 1").await;
    let ran = setup.tidelock.once(0);
    assert_eq!(ran.number("conflicts"), 1, "{}", ran.lines[0]);
    assert_eq!(people(&setup).await[0], "Ada|Byron");
    assert_eq!(setup.source.value(&format!("{full}1")).await.as_deref(), Some("Ada Byron"));
    let audit = setup.tidelock.audit(0);
    assert_eq!(audit.number("matching"), 2, "{}", audit.lines[0]);
    setup.quiet();
}

/// A one-way copy computes too, and `audit` sees a computed field that was changed behind its back.
pub async fn computed_fields_are_copied_and_audited(kinds: (Kind, Kind)) {
    let setup = setup(kinds, json!({"record_transforms": [{"function": "split_name"}]})).await;
    setup.source.execute("INSERT INTO customers (id, full_name) VALUES (1, 'Ada Lovelace')").await;
    setup.tidelock.once(0);
    assert_eq!(people(&setup).await, ["Ada|Lovelace"]);
    setup.tidelock.audit(0);
    setup.target.execute("UPDATE clients SET last_name = 'King'").await;
    assert_eq!(setup.tidelock.audit(3).number("different"), 1);
}

/// A resolver merges what both sides added; the conflict says who settled it, and the batch which plugins it saw (I9).
pub async fn a_resolver_settles_a_conflict(kinds: (Kind, Kind)) {
    let policy = json!({"strategy": "plugin", "resolver": "merge_tags"});
    let setup = setup(kinds, json!({"sync_type": "bidirectional", "conflict_resolution": policy})).await;
    setup.source.execute("INSERT INTO customers (id, email, tags) VALUES (1, 'a', 'red')").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET tags = 'red, blue'").await;
    setup.target.execute("UPDATE clients SET tags = 'red, green'").await;
    let ran = setup.tidelock.once(0);
    assert_eq!(ran.number("conflicts"), 1, "{}", ran.lines[0]);
    let merged = setup.source.value("SELECT tags FROM customers").await.unwrap();
    assert_eq!(setup.target.value("SELECT tags FROM clients").await.as_deref(), Some(merged.as_str()));
    for tag in ["red", "blue", "green"] {
        assert!(merged.contains(tag), "{merged}");
    }
    setup.quiet();
    let state = crate::harness::Database::Sqlite(setup.tidelock.folder.path().join("tidelock.db"));
    let conflict = state.rows("SELECT winner, resolver, length(digest) || '' FROM conflicts").await;
    assert_eq!(conflict, [["merged", "merge_tags", "64"].map(|text| Some(text.to_owned()))]);
    let unnamed =
        "SELECT count(*) || '' FROM batches WHERE plugin_set IS NULL OR plugin_set NOT IN (SELECT id FROM plugin_sets)";
    assert_eq!(state.value(unnamed).await.as_deref(), Some("0"));
    assert_eq!(state.value("SELECT (count(*) > 0) || '' FROM batches").await.as_deref(), Some("1"));
}

/// A plugin that is replaced again and again while records flow: none is lost or doubled, and each is of the version that the history names
/// for it. `TIDELOCK_RELOADS` asks for more than what a test has time for. How much the service grew is for people, as records make it grow
/// too: what reloads alone keep is tested in `plugin_loading`.
pub async fn replaced_all_the_while(kinds: (Kind, Kind)) {
    let reloads = std::env::var("TIDELOCK_RELOADS").map_or(30, |number| number.parse().unwrap());
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let folder = setup.tidelock.folder.path().join("plugins");
    std::fs::create_dir(&folder).unwrap();
    let file = |version: usize| {
        std::fs::read(format!("{}/tests/guests/suffix_v{version}.wasm", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let put = |version: usize| {
        std::fs::write(folder.join(".new"), file(version)).unwrap();
        std::fs::rename(folder.join(".new"), folder.join("suffix.wasm")).unwrap();
    };
    put(1);
    setup.configure(json!({"sync_type": "bidirectional", "field_mappings": [
        {"source": "id", "target": "client_id"},
        {"source": "name", "target": "full_name", "transformation": "add_suffix", "direction": "source_to_target"},
        {"source": "phone", "target": "phone"},
    ]}));
    let mut service = setup.tidelock.serve();
    service.ready().await;

    let done = AtomicBool::new(false);
    let load = async {
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            let rows: Vec<String> = (last + 1..=last + 5).map(|id| format!("({id}, 'n{id}', 'p{id}')")).collect();
            setup.source.execute(&format!("INSERT INTO customers (id, name, phone) VALUES {}", rows.join(", "))).await;
            last += 5;
        }
        last
    };
    let replacing = async {
        let (mut took, mut warm): (Vec<Duration>, u64) = (Vec::new(), 0);
        for round in 1..=reloads {
            let version = 1 + round % 2;
            put(version);
            let placed = Instant::now();
            let newest = "SELECT substr(full_name, length(full_name)) FROM clients ORDER BY client_id DESC LIMIT 1";
            setup.target.await_value(newest, &version.to_string()).await;
            took.push(placed.elapsed());
            if round == reloads / 2 {
                warm = service.memory_kib();
            }
        }
        done.store(true, Ordering::Relaxed);
        took.sort();
        (took[took.len() / 2], service.memory_kib().saturating_sub(warm))
    };
    let (last, (median, grown_kib)) = tokio::join!(load, replacing);
    eprintln!(
        "{reloads} reloads, {last} records: {median:?} to the first record of a version, {grown_kib} KiB more in the second half"
    );
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients", &last.to_string()).await;
    assert_eq!(service.stop(), 0, "{}", service.log());

    let written = setup.target.rows("SELECT full_name, phone FROM clients ORDER BY client_id").await;
    for (id, row) in (1..).zip(&written) {
        let (name, phone) = (row[0].as_deref().unwrap(), row[1].as_deref().unwrap());
        assert!(name == format!("n{id}-v1") || name == format!("n{id}-v2"), "{id}: {name}");
        assert_eq!(phone, format!("p{id}"));
    }
    for (index, row) in written.iter().enumerate().step_by(written.len().div_ceil(20)) {
        let id = index + 1;
        let explained = setup.tidelock.run(&["explain", "customers", &id.to_string(), "--json"]);
        let writes = explained.lines[0]["history"].as_array().unwrap();
        let version = if row[0].as_deref().unwrap().ends_with('1') { 1 } else { 2 };
        let digest: String = Sha256::digest(file(version)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((writes.len(), &writes[0]["plugins"]["suffix"]), (1, &json!(digest)), "{id}: {writes:?}");
    }
    setup.quiet();
}
