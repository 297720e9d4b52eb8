//! Bad input gets a clear error, exit code 2 (1 at run time), and nothing is half-created.

use serde_json::json;

use crate::harness::Tidelock;
use crate::scenarios::{Kind, Setup};

async fn setup() -> Setup {
    let setup = Setup::new((Kind::Sqlite, Kind::Sqlite)).await;
    setup.tables().await;
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    setup
}

/// No state file, no tracking object and no record was made.
async fn untouched(setup: &Setup) {
    assert_eq!(setup.tidelock.state_files(), [""; 0]);
    let made = "SELECT CAST(count(*) AS TEXT) FROM sqlite_master WHERE name LIKE 'tidelock%'";
    for database in [&setup.source, &setup.target] {
        assert_eq!(database.value(made).await.as_deref(), Some("0"));
    }
    assert_eq!(setup.target.value("SELECT CAST(count(*) AS TEXT) FROM clients").await.as_deref(), Some("0"));
}

async fn refused(more: serde_json::Value, code: i32, said: &[&str]) {
    let setup = setup().await;
    setup.configure(more);
    for arguments in [&["run", "sync.json", "--once"][..], &["run", "sync.json", "--listen", "127.0.0.1:0"]] {
        let ran = setup.tidelock.run(arguments);
        assert_eq!(ran.code, code, "{}", ran.errors);
        for text in said {
            assert!(ran.errors.contains(text), "no {text:?} in:\n{}", ran.errors);
        }
    }
    untouched(&setup).await;
}

#[tokio::test]
async fn a_missing_table_names_near_ones() {
    let setup = setup().await;
    let endpoint = setup.target.endpoint("erp", "client");
    setup.configure(json!({"target": endpoint}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("no table \"client\"; did you mean \"clients\"?"), "{}", ran.errors);
    let ran = setup.tidelock.once(1);
    assert_eq!(ran.lines[0]["error"]["code"], "sqlite.no_table", "{}", ran.lines[0]);
    assert_eq!(ran.number("reviews"), 0);
    untouched(&setup).await;
}

#[tokio::test]
async fn a_pair_that_cannot_run_keeps_no_other_from_its_work() {
    let setup = setup().await;
    setup.configure(json!({}));
    let folder = setup.tidelock.folder.path();
    let mut other: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("sync.json")).unwrap()).unwrap();
    other["connection_name"] = json!("orders");
    other["target"]["table"] = json!("nowhere");
    std::fs::write(folder.join("other.json"), other.to_string()).unwrap();
    for files in [["sync.json", "other.json"], ["other.json", "sync.json"]] {
        let ran = setup.tidelock.run(&["run", files[0], files[1], "--once"]);
        assert_eq!(ran.code, 1, "{}", ran.errors);
        assert!(ran.errors.contains("pair orders") && !ran.errors.contains("pair customers"), "{}", ran.errors);
        assert_eq!(setup.target.value("SELECT full_name FROM clients").await.as_deref(), Some("Ada"));
    }
}

#[tokio::test]
async fn a_missing_database_file_is_not_made() {
    let setup = setup().await;
    setup.configure(json!({"source": {"type": "sqlite", "path": "nowhere.db", "table": "customers"}}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("nowhere.db") && ran.errors.contains("check \"path\""), "{}", ran.errors);
    assert!(!setup.tidelock.folder.path().join("nowhere.db").exists());
    untouched(&setup).await;
}

#[tokio::test]
async fn a_missing_column_names_near_ones() {
    refused(
        json!({"field_mappings": [{"source": "id", "target": "client_id"}, {"source": "phon", "target": "phone"}]}),
        2,
        &["phon", "did you mean \"phone\"", "sync.json"],
    )
    .await;
}

#[tokio::test]
async fn an_unknown_transform_names_near_ones() {
    let mappings = json!([{"source": "id", "target": "client_id"}, {"source": "phone", "target": "phone", "transformation": "format_phon"}]);
    refused(json!({"field_mappings": mappings}), 2, &["format_phon", "format_phone", "sync.json"]).await;
}

#[tokio::test]
async fn a_transform_that_cannot_be_undone_is_refused_both_ways() {
    let setup = setup().await;
    let plugins = setup.tidelock.folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let guest = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/misbehave.wasm");
    std::fs::copy(guest, plugins.join("misbehave.wasm")).unwrap();
    setup.configure(json!({"sync_type": "bidirectional", "field_mappings": [
        {"source": "id", "target": "client_id"}, {"source": "name", "target": "full_name", "transformation": "trap_on_poison"}]}));
    let ran = setup.tidelock.run(&["check", "sync.json", "--json"]);
    assert_eq!(ran.code, 2);
    let problem = &ran.lines[0]["problems"][0];
    assert_eq!(problem["code"], "mapping.not_reversible", "{problem}");
    assert!(problem["suggestion"].as_str().is_some_and(|text| text.contains("reverse_transformation")), "{problem}");
}

#[tokio::test]
async fn invalid_json_says_where() {
    let setup = setup().await;
    std::fs::write(setup.tidelock.folder.path().join("sync.json"), "{\n  \"source\": {,\n}").unwrap();
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("sync.json:2:"), "{}", ran.errors);
    untouched(&setup).await;
}

#[tokio::test]
async fn two_files_that_claim_one_pair_name_are_both_named() {
    let setup = setup().await;
    setup.configure(json!({}));
    let folder = setup.tidelock.folder.path();
    std::fs::copy(folder.join("sync.json"), folder.join("other.json")).unwrap();
    let ran = setup.tidelock.run(&["run", "sync.json", "other.json", "--once"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.errors.contains("sync.json") && ran.errors.contains("other.json") && ran.errors.contains("customers"),
        "{}",
        ran.errors
    );
    untouched(&setup).await;
}

#[tokio::test]
async fn a_broken_plugin_is_refused_and_the_rest_works() {
    let setup = setup().await;
    let plugins = setup.tidelock.folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::write(plugins.join("broken.wasm"), b"not a component").unwrap();
    let mappings = json!([{"source": "id", "target": "client_id"}, {"source": "name", "target": "full_name", "transformation": "broken"}]);
    setup.configure(json!({"field_mappings": mappings}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, 2, "{}", ran.errors);
    assert!(ran.errors.contains("`broken.wasm` was refused: it is not a WebAssembly file"), "{}", ran.errors);
    untouched(&setup).await;
    setup.configure(json!({}));
    let ran = setup.tidelock.once(0);
    assert!(ran.errors.contains("broken"), "{}", ran.errors);
    let ran = setup.tidelock.run(&["plugin", "check", "plugins/broken.wasm"]);
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("broken.wasm"), "{}", ran.errors);
}

#[tokio::test]
async fn a_second_service_on_one_state_file_is_refused() {
    let setup = setup().await;
    setup.configure(json!({}));
    let mut service = setup.tidelock.serve();
    service.ready().await;
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("another tidelock"), "{}", ran.errors);
    assert_eq!(service.stop(), 0);
}

#[tokio::test]
async fn a_record_that_the_target_refuses_waits_in_review_alone() {
    let setup = Setup::new((Kind::Sqlite, Kind::Sqlite)).await;
    setup.source.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, city TEXT)").await;
    setup
        .target
        .execute("CREATE TABLE clients (client_id INTEGER PRIMARY KEY, full_name TEXT NOT NULL, phone TEXT, town TEXT)")
        .await;
    for sync_type in ["one_way", "bidirectional"] {
        setup.configure(json!({"sync_type": sync_type, "connection_name": sync_type}));
        setup
            .source
            .execute("DELETE FROM customers; INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, NULL), (3, 'Cid')")
            .await;
        let ran = setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
        assert_eq!((ran.code, ran.number("reviews")), (1, 1), "{}", ran.errors);
        assert_eq!(setup.target.value("SELECT group_concat(client_id) FROM clients").await.as_deref(), Some("1,3"));
    }
}

#[test]
fn what_is_no_configuration_file_is_said() {
    let tidelock = Tidelock::new();
    let ran = tidelock.run(&["run", "nowhere.json", "--once"]);
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("nowhere.json"), "{}", ran.errors);
    assert_eq!(tidelock.run(&["frobnicate"]).code, 2);
}

#[tokio::test]
async fn status_without_a_state_file_is_an_error() {
    let tidelock = Tidelock::new();
    let ran = tidelock.run(&["status"]);
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("tidelock.db"), "{}", ran.errors);
}

#[tokio::test]
async fn records_cannot_be_matched_by_what_does_not_flow() {
    let mapping = |direction: &str| json!([{"source": "id", "target": "client_id"}, {"source": "phone", "target": "phone", "direction": direction}]);
    let said = &["\"phone\", which does not flow both ways", "without \"direction\""];
    let more =
        json!({"sync_type": "bidirectional", "match_on": ["phone"], "field_mappings": mapping("source_to_target")});
    refused(more, 2, said).await;
    refused(json!({"match_on": ["phon"], "field_mappings": null}), 2, &["\"phon\", which is not mapped"]).await;
}

#[tokio::test]
async fn a_reference_fits_the_keys_that_it_refers_to() {
    let mappings = |source: &str, target: &str| json!([{"source": "id", "target": "client_id"}, {"source": source, "target": target, "lookup": "customers"}]);
    let said = &["the source field is of kind Local, but the keys of \"customers\" are of kind Int"];
    refused(json!({"field_mappings": mappings("updated_at", "updated_at")}), 2, said).await;
    let own_key = json!([{"source": "id", "target": "client_id", "lookup": "customers"}]);
    refused(json!({"field_mappings": own_key}), 2, &["part of the key, which cannot be translated"]).await;

    let setup = setup().await;
    setup.source.execute("CREATE TABLE lines (a INTEGER, b INTEGER, PRIMARY KEY (a, b))").await;
    setup.target.execute("CREATE TABLE lines (a INTEGER, b INTEGER, PRIMARY KEY (a, b))").await;
    setup.configure(json!({"field_mappings": mappings("phone", "phone")}));
    let path = setup.tidelock.folder.path().join("sync.json");
    let mut one: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    one["field_mappings"][1]["lookup"] = json!("lines");
    let lines = json!({"connection_name": "lines", "source": setup.source.endpoint("crm", "lines"), "target": setup.target.endpoint("erp", "lines")});
    setup.tidelock.configure(&json!({"syncs": [one, lines]}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, 2, "{}", ran.errors);
    assert!(ran.errors.contains("only a key of one field can be looked up"), "{}", ran.errors);
}
