//! A bad version of a plugin in a running sync: it is taken back by itself, and its batch is run again, so nothing of it is left.

use serde_json::json;

use crate::harness::{Database, Tidelock};
use crate::plugin::guest;

#[tokio::test]
async fn a_bad_version_leaves_nothing_behind() {
    let tidelock = Tidelock::new();
    let folder = tidelock.folder.path();
    let (source, target) = (Database::sqlite(folder, "a.db").await, Database::sqlite(folder, "b.db").await);
    for database in [&source, &target] {
        database.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)").await;
    }
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    // Written beside and renamed, as one replaces a plugin.
    let replace = |name: &str| {
        std::fs::write(plugins.join(".new"), guest(name)).unwrap();
        std::fs::rename(plugins.join(".new"), plugins.join("suffix.wasm")).unwrap();
    };
    replace("suffix_v1");
    tidelock.configure(&json!({
        "connection_name": "people",
        "source": source.endpoint("a", "people"),
        "target": target.endpoint("b", "people"),
        "field_mappings": [
            {"source": "id", "target": "id"},
            {"source": "name", "target": "name", "transformation": "add_suffix"}
        ],
        "sync_settings": {"sync_type": "one_way"},
        "error_handling": {"retry_strategy": {"initial_delay_seconds": 0.1}}
    }));
    let insert = |from: u32, to: u32| {
        let rows: Vec<String> = (from..to).map(|id| format!("({id}, 'even')")).collect();
        format!("INSERT INTO people VALUES {}", rows.join(", "))
    };
    source.execute(&insert(0, 100)).await;
    let mut service = tidelock.serve();
    service.ready().await;
    let arrived = "SELECT CAST(count(*) AS TEXT) FROM people WHERE name = 'even-v1'";
    target.await_value(arrived, "100").await;
    replace("suffix_bad");
    while !service.log().contains("a plugin is replaced") {
        tokio::task::yield_now().await;
    }
    source.execute(&insert(100, 400)).await;
    target.await_value(arrived, "400").await;
    assert!(service.log().contains("a plugin is rolled back"), "{}", service.log());
    // The service says so.
    let url = format!("http://{}/api/v1/plugins", service.address().await);
    let said: serde_json::Value = crate::harness::http().get(&url).send().await.unwrap().json().await.unwrap();
    let refused = &said["refused"][0];
    assert_eq!((&refused["plugin"], &refused["state"]), (&json!("suffix"), &json!("rolled_back")), "{said}");
    let listed = said["plugins"].as_array().unwrap();
    let plugin = listed.iter().find(|plugin| plugin["plugin"] == "suffix").unwrap();
    assert_eq!((&plugin["digest"], &plugin["state"]), (&refused["kept"], &json!("in_use")), "{said}");
    let counts = &plugin["functions"][0]["counts"];
    assert!(counts["values"].as_u64().unwrap() >= 400 && counts["errors"] == 0, "{counts}");
    // So does the command that asks it.
    let asked = tidelock.run(&["plugin", "list", "--json", "--service", &service.address().await]);
    let function = asked.lines[0].as_array().unwrap().iter().find(|function| function["plugin"] == "suffix").unwrap();
    assert_eq!((&function["digest"], &function["counts"]["errors"]), (&refused["kept"], &json!(0)), "{function}");
    assert!(asked.code == 0 && asked.errors.contains("suffix.wasm is rolled_back"), "{}", asked.errors);
    assert_eq!(service.stop(), 0, "{}", service.log());
    let nobody = tidelock.run(&["plugin", "list", "--service", "127.0.0.1:1"]);
    assert!(nobody.code == 1 && nobody.errors.contains("no service answers at 127.0.0.1:1"), "{}", nobody.errors);
    // Nothing waits for a person, and nothing differs.
    std::fs::write(plugins.join("suffix.wasm"), guest("suffix_v1")).unwrap();
    let audit = tidelock.audit(0);
    assert_eq!((audit.number("matching"), audit.number("in_review")), (400, 0), "{:?}", audit.lines);
}
