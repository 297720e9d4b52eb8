//! Columns that are added, dropped, renamed or get another type while a pair is in use, while edits go on and between two runs.

use serde_json::{Value, json};

use super::{Kind, Setup};
use crate::harness::Database;

/// Two equal tables with all fields kept in step, brought together once.
async fn in_use(kinds: (Kind, Kind), drift: Value) -> Setup {
    let setup = Setup::new(kinds).await;
    let table =
        |name: &str| format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, name VARCHAR(40), phone VARCHAR(40))");
    setup.source.execute(&table("customers")).await;
    setup.target.execute(&table("clients")).await;
    setup.source.execute("INSERT INTO customers VALUES (1, 'Ada', '1'), (2, 'Bob', '2')").await;
    setup.tidelock.configure(&json!({
        "connection_name": "customers",
        "source": setup.source.endpoint("crm", "customers"),
        "target": setup.target.endpoint("erp", "clients"),
        "sync_type": "bidirectional",
        "schema_drift": drift,
    }));
    setup.tidelock.once(0);
    setup
}

async fn rows(database: &Database, table: &str, columns: &str) -> Vec<Vec<Option<String>>> {
    database.rows(&format!("SELECT CAST(id AS TEXT), {columns} FROM {table} ORDER BY id")).await
}

pub async fn a_new_column_is_added_to_the_other_side(kinds: (Kind, Kind)) {
    let setup = in_use(kinds, json!({"added": "apply", "check_seconds": 1})).await;
    let service = setup.tidelock.serve();
    service.ready().await;
    setup.source.execute("ALTER TABLE customers ADD COLUMN vat VARCHAR(20)").await;
    setup.source.execute("UPDATE customers SET vat = 'DE1', name = 'Ada L.' WHERE id = 1").await;
    setup.target.execute("UPDATE clients SET phone = '22' WHERE id = 2").await;
    setup.source.await_value("SELECT phone FROM customers WHERE id = 2", "22").await;
    let has = match &setup.target {
        Database::Sqlite(_) => "SELECT CAST(count(*) AS TEXT) FROM pragma_table_info('clients') WHERE name = 'vat'",
        Database::Postgres { .. } => {
            "SELECT CAST(count(*) AS TEXT) FROM information_schema.columns WHERE table_name = 'clients' AND column_name = 'vat'"
        }
        Database::Mysql { .. } => {
            "SELECT CAST(count(*) AS TEXT) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'clients' \
             AND COLUMN_NAME = 'vat'"
        }
    };
    setup.target.await_value(has, "1").await;
    setup.target.await_value("SELECT vat FROM clients WHERE id = 1", "DE1").await;
    setup.target.execute("UPDATE clients SET vat = 'FR2' WHERE id = 2").await;
    setup.source.await_value("SELECT vat FROM customers WHERE id = 2", "FR2").await;
    drop(service);
    setup.tidelock.once(0);
    let columns = "name, phone, vat";
    assert_eq!(rows(&setup.source, "customers", columns).await, rows(&setup.target, "clients", columns).await);
    setup.quiet();
}

pub async fn a_new_column_alone_stops_nobody(kinds: (Kind, Kind)) {
    let setup = in_use(kinds, json!({"check_seconds": 1})).await;
    setup.source.execute("ALTER TABLE customers ADD COLUMN vat VARCHAR(20)").await;
    setup.source.execute("UPDATE customers SET vat = 'DE1', name = 'Ada L.' WHERE id = 1").await;
    let ran = setup.tidelock.once(0);
    assert!(ran.errors.contains("vat") && ran.errors.contains("is new"), "it is told: {}", ran.errors);
    assert_eq!(rows(&setup.target, "clients", "name").await[0][1].as_deref(), Some("Ada L."));
    assert!(!setup.tidelock.once(0).errors.contains("is new"), "once");
}

pub async fn a_column_that_goes_holds_the_pair_and_loses_nothing(kinds: (Kind, Kind)) {
    let setup = in_use(kinds, json!({"check_seconds": 1})).await;
    let service = setup.tidelock.serve();
    service.ready().await;
    setup.target.execute("ALTER TABLE clients RENAME COLUMN phone TO telephone").await;
    service.awaits_503("stands in its place").await;
    setup.source.execute("UPDATE customers SET phone = '11' WHERE id = 1").await;
    setup.target.execute("UPDATE clients SET name = 'Bo' WHERE id = 2").await;
    setup.target.execute("ALTER TABLE clients RENAME COLUMN telephone TO phone").await;
    setup.target.await_value("SELECT phone FROM clients WHERE id = 1", "11").await;
    setup.source.await_value("SELECT name FROM customers WHERE id = 2", "Bo").await;
    setup.source.execute("UPDATE customers SET phone = '222' WHERE id = 2").await;
    setup.target.await_value("SELECT phone FROM clients WHERE id = 2", "222").await;
    service.ready().await;
    drop(service);
    let columns = "name, phone";
    assert_eq!(rows(&setup.source, "customers", columns).await, rows(&setup.target, "clients", columns).await);
}

pub async fn a_dropped_column_empties_nothing_and_a_person_lets_the_pair_go_on(kinds: (Kind, Kind)) {
    let setup = in_use(kinds, json!({})).await;
    setup.source.execute("ALTER TABLE customers DROP COLUMN phone").await;
    setup.source.execute("UPDATE customers SET name = 'Ada L.' WHERE id = 1").await;
    let ran = setup.tidelock.once(1);
    let said = format!("{:?}{}", ran.lines, ran.errors);
    assert!(said.contains("phone") && said.contains("is gone"), "{said}");
    let before = rows(&setup.target, "clients", "name, phone").await;
    assert_eq!(before[0], [Some("1".to_owned()), Some("Ada".to_owned()), Some("1".to_owned())], "nothing was written");
    let resumed = setup.tidelock.run(&["resume", "customers", "--json"]);
    assert_eq!(resumed.code, 0, "{}", resumed.errors);
    setup.tidelock.once(0);
    let after = rows(&setup.target, "clients", "name, phone").await;
    assert_eq!(after[0], [Some("1".to_owned()), Some("Ada L.".to_owned()), Some("1".to_owned())], "no silent null");
    setup.quiet();
}

pub async fn a_change_of_type_is_compared_in_full_on_request(kinds: (Kind, Kind)) {
    let setup = in_use(kinds, json!({"retyped": "apply"})).await;
    let retype = match &setup.source {
        // SQLite knows no other way.
        Database::Sqlite(_) => {
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'phone VARCHAR(40)', 'phone VARCHAR(80)') \
             WHERE name = 'customers'; PRAGMA writable_schema = RESET"
        }
        Database::Postgres { .. } => "ALTER TABLE customers ALTER COLUMN phone TYPE VARCHAR(80) USING phone || '0'",
        Database::Mysql { .. } => "ALTER TABLE customers MODIFY COLUMN phone VARCHAR(80)",
    };
    setup.source.execute(retype).await;
    setup.source.execute("UPDATE customers SET name = 'Ada L.' WHERE id = 1").await;
    setup.tidelock.once(0);
    let columns = "name, phone";
    assert_eq!(rows(&setup.source, "customers", columns).await, rows(&setup.target, "clients", columns).await);
    setup.quiet();
}
