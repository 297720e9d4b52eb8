//! `create_target` makes a target's table once, after the plan has shown it, and leaves one that is there as it is; missing indexes are
//! told as statements that can be run.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{Kind, Setup};
use crate::harness::{Database, Tidelock};

impl Database {
    /// How many tables of that name there are.
    async fn tables_named(&self, name: &str) -> usize {
        let sql = match self {
            Self::Sqlite(_) => format!("SELECT name FROM sqlite_master WHERE type = 'table' AND name = '{name}'"),
            Self::Postgres { .. } => {
                format!("SELECT CAST(relname AS TEXT) FROM pg_class WHERE relkind = 'r' AND relname = '{name}'")
            }
            Self::Mysql { .. } => format!(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}'"
            ),
        };
        self.rows(&sql).await.len()
    }
}

/// A configuration with `create_target` over a typed table.
async fn typed(kinds: (Kind, Kind), more: Value) -> Setup {
    let setup = Setup::new(kinds).await;
    setup
        .source
        .execute(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, phone TEXT, balance DECIMAL(10,2), born DATE, \
             seen TIMESTAMP NULL, big DECIMAL(38,10), vip BOOLEAN)",
        )
        .await;
    setup
        .source
        .execute(
            "INSERT INTO customers VALUES (1, 'Ada', '1', 1234.50, '1815-12-10', '2024-02-29 23:59:59', 1, TRUE), \
             (2, 'Zoë 😀', NULL, NULL, NULL, NULL, NULL, FALSE)",
        )
        .await;
    let plain = ["phone", "balance", "born", "seen", "big", "vip"].map(|name| json!({"source": name, "target": name}));
    let mut mappings =
        vec![json!({"source": "id", "target": "client_id"}), json!({"source": "name", "target": "full_name"})];
    mappings.extend(plain);
    let mut config = json!({"create_target": true, "field_mappings": mappings});
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    setup.configure(config);
    setup
}

const SOURCE: &str = "SELECT CAST(id AS TEXT), name, phone, CAST(born AS TEXT) FROM customers ORDER BY id";
const TARGET: &str =
    "SELECT CAST(client_id AS TEXT), full_name, phone, CAST(born AS TEXT) FROM clients ORDER BY client_id";

pub async fn a_target_is_made_after_the_plan_has_shown_it(kinds: (Kind, Kind)) {
    let setup = typed(kinds, json!({})).await;
    let plan = setup.tidelock.run(&["plan", "sync.json", "--json"]);
    assert_eq!(plan.code, 0, "{:?}\n{}", plan.lines, plan.errors);
    let plan = &plan.lines[0];
    let statements = plan["create_target"].as_array().unwrap();
    assert_eq!(statements.len(), 1, "{plan}");
    assert!(statements[0].as_str().unwrap().starts_with("CREATE TABLE "), "{plan}");
    assert_eq!(plan["target"]["creates"], 2, "{plan}");
    assert_eq!(setup.target.tables_named("clients").await, 0, "a plan makes nothing");
    let audit = setup.tidelock.run(&["audit", "sync.json", "--json"]);
    assert_eq!(audit.code, 3, "nor does an audit: {:?}\n{}", audit.lines, audit.errors);
    assert_eq!(setup.target.tables_named("clients").await, 0);

    assert_eq!(setup.tidelock.once(0).number("written_target"), 2);
    assert_eq!(setup.target.rows(TARGET).await, setup.source.rows(SOURCE).await);
    let audit = setup.tidelock.audit(0);
    assert_eq!((audit.number("compared"), audit.number("matching")), (2, 2), "{}", audit.lines[0]);
    setup.quiet();
    let again = setup.tidelock.run(&["plan", "sync.json", "--json"]);
    assert_eq!(again.lines[0]["create_target"], json!([]));

    // What may not be null in the source may not be in the target, and keys do not repeat.
    setup.source.execute("INSERT INTO customers (id, name) VALUES (3, 'Cid')").await;
    setup.source.execute("UPDATE customers SET name = 'Ada L.' WHERE id = 1").await;
    setup.source.execute("DELETE FROM customers WHERE id = 2").await;
    setup.tidelock.once(0);
    assert_eq!(setup.target.rows(TARGET).await, setup.source.rows(SOURCE).await);
}

pub async fn the_statement_is_exactly_what_a_run_does(kinds: (Kind, Kind)) {
    let setup = typed(kinds, json!({"match_on": ["phone"]})).await;
    let plan = setup.tidelock.run(&["plan", "sync.json", "--json"]);
    for statement in plan.lines[0]["create_target"].as_array().unwrap_or_else(|| panic!("{}", plan.errors)) {
        setup.target.execute(statement.as_str().unwrap()).await;
    }
    let made = setup.tidelock.run(&["plan", "sync.json", "--json"]);
    assert_eq!(made.lines[0]["create_target"], json!([]), "the statements make the table: {}", made.errors);
    let wanting = made.lines[0]["index_recommendation"].as_array().unwrap();
    assert!(
        wanting.iter().all(|index| index.as_str().unwrap().contains("customers")),
        "with the indexes that it needs: {wanting:?}"
    );
    setup.tidelock.once(0);
    assert_eq!(setup.target.rows(TARGET).await, setup.source.rows(SOURCE).await);
}

pub async fn a_target_that_is_there_stays_as_it_is(kinds: (Kind, Kind)) {
    let setup = typed(kinds, json!({})).await;
    setup.target.execute("CREATE TABLE clients (client_id INTEGER PRIMARY KEY, full_name TEXT)").await;
    let ran = setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert_eq!(ran.code, 2, "it is checked as ever: {:?}\n{}", ran.lines, ran.errors);
    assert!(format!("{:?}", ran.lines).contains("mapping.unknown_field"), "{:?}", ran.lines);
    assert_eq!(setup.target.rows("SELECT full_name FROM clients").await.len(), 0);
}

pub async fn records_may_be_born_in_a_target_that_was_made(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    let key = kinds.0.generated_key();
    setup.source.execute(&format!("CREATE TABLE customers (id {key}, name VARCHAR(40) NOT NULL)")).await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('Ada')").await;
    setup.configure(json!({"create_target": true, "sync_type": "bidirectional",
        "key": {"source": "id", "target": "crm_id"}, "field_mappings": [{"source": "name", "target": "full_name"}]}));
    setup.tidelock.once(0);
    setup.target.execute("INSERT INTO clients (full_name) VALUES ('Bob')").await;
    setup.tidelock.once(0);
    let source = setup.source.rows("SELECT CAST(id AS TEXT), name FROM customers ORDER BY id").await;
    let target = setup.target.rows("SELECT CAST(crm_id AS TEXT), full_name FROM clients ORDER BY crm_id").await;
    assert_eq!(source.len(), 2);
    assert_eq!(source, target);
    setup.quiet();
}

pub async fn several_services_make_one_table(kinds: (Kind, Kind)) {
    let setup = typed(kinds, json!({})).await;
    let other = Tidelock::new();
    std::fs::copy(setup.tidelock.folder.path().join("sync.json"), other.folder.path().join("sync.json")).unwrap();
    let start = |tidelock: &Tidelock| {
        let mut command = tidelock.command(&["run", "sync.json", "--once", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running = [start(&setup.tidelock), start(&other)];
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(setup.target.tables_named("clients").await, 1);
    assert_eq!(setup.target.rows(TARGET).await, setup.source.rows(SOURCE).await);
}

/// What `check --connect` says of indexes: statements.
fn recommended(setup: &Setup) -> Vec<String> {
    let checked = setup.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    assert_eq!(checked.code, 0, "{:?}\n{}", checked.lines, checked.errors);
    let problems = checked.lines[0]["problems"].as_array().unwrap().clone();
    let missing = problems.iter().filter(|problem| problem["code"] == "mapping.missing_index");
    missing.map(|problem| problem["suggestion"].as_str().unwrap().to_owned()).collect()
}

pub async fn missing_indexes_are_told_as_statements(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    let (source, target) = (kinds.0.generated_key(), kinds.1.generated_key());
    setup.source.execute(&format!("CREATE TABLE customers (id {source}, name TEXT, phone TEXT)")).await;
    setup
        .target
        .execute(&format!("CREATE TABLE clients (nr {target}, crm_id INTEGER, full_name TEXT, phone TEXT)"))
        .await;
    let config = json!({"sync_type": "bidirectional", "key": {"source": "id", "target": "crm_id"}, "match_on": ["phone"],
        "field_mappings": [{"source": "name", "target": "full_name"}, {"source": "phone", "target": "phone"}]});
    setup.configure(config.clone());
    let statements = recommended(&setup);
    assert_eq!(statements.len(), 3, "source.phone, target.crm_id, target.phone: {statements:?}");
    let planned = setup.tidelock.run(&["plan", "sync.json", "--json"]).lines[0]["index_recommendation"].clone();
    assert_eq!(planned, json!(statements));
    for statement in &statements {
        let side = if statement.contains("customers") { &setup.source } else { &setup.target };
        side.execute(statement).await;
    }
    assert_eq!(recommended(&setup), [] as [&str; 0], "all of them are there");

    setup.target.execute("DROP TABLE clients").await;
    setup
        .target
        .execute(&format!("CREATE TABLE clients (nr {target}, crm_id INTEGER, full_name TEXT, phone TEXT)"))
        .await;
    let mut silent = config;
    silent["performance_settings"] = json!({"index_recommendation": false});
    setup.configure(silent);
    assert_eq!(recommended(&setup), [] as [&str; 0], "nobody wants to know");
}
