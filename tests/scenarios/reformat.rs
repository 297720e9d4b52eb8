//! Systems that do not keep what they are given (they trim, round, reformat, even against each other) are at rest all the same: the base
//! keeps what was stored. Triggers of the test's own count every write, whoever makes it.

use serde_json::{Value, json};

use super::{Kind, Setup};
use crate::harness::Database;

/// The source shouts. The target whispers, trims, rounds, and strips dashes; its codes are compared without case.
async fn tables(setup: &Setup, kinds: (Kind, Kind)) {
    let columns = |kind: Kind, price: &str| match kind {
        Kind::Sqlite => "phone TEXT, price DECIMAL(12,4), code TEXT COLLATE NOCASE".to_owned(),
        Kind::Mysql | Kind::MysqlLog => {
            "phone TEXT, price DECIMAL(12,4), code TEXT COLLATE utf8mb4_general_ci".to_owned()
        }
        Kind::Postgres | Kind::PostgresLog => format!("phone TEXT, price {price}, code TEXT COLLATE no_case"),
    };
    for (database, kind) in [(&setup.source, kinds.0), (&setup.target, kinds.1)] {
        database.execute("CREATE TABLE writes (id INTEGER)").await;
        if kind.is_postgres() {
            let collation =
                "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
            database.execute(collation).await;
        }
    }
    let columns = (columns(kinds.0, "NUMERIC(12,4)"), columns(kinds.1, "NUMERIC(8,1)"));
    setup.source.execute(&format!("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, {})", columns.0)).await;
    let clients = format!("CREATE TABLE clients (client_id INTEGER PRIMARY KEY, full_name TEXT, {})", columns.1);
    setup.target.execute(&clients).await;
    alter(&setup.source, ("customers", "id"), &[("name", "upper(NEW.name)")]).await;
    let whisper = ("full_name", "lower(trim(NEW.full_name))");
    let strip = ("phone", "replace(NEW.phone, '-', '')");
    let mut altered = vec![whisper, strip];
    if !kinds.1.is_postgres() {
        // PostgreSQL's column does that by its own.
        altered.push(("price", "round(NEW.price, 1)"));
    }
    alter(&setup.target, ("clients", "client_id"), &altered).await;
}

/// Triggers that store something else than what they are given, and count.
async fn alter(database: &Database, (table, key): (&str, &str), fields: &[(&str, &str)]) {
    let sql = match database {
        Database::Sqlite(_) => {
            let set: Vec<String> = fields.iter().map(|(field, made)| format!("{field} = {made}")).collect();
            let trigger = |op: &str| {
                format!(
                    "CREATE TRIGGER alter_{op} AFTER {op} ON {table} BEGIN
                         UPDATE {table} SET {} WHERE {key} = NEW.{key}; INSERT INTO writes VALUES (NEW.{key});
                     END;",
                    set.join(", ")
                )
            };
            trigger("insert") + &trigger("update")
        }
        Database::Mysql { .. } => {
            let set: String = fields.iter().map(|(field, made)| format!("SET NEW.{field} = {made}; ")).collect();
            let trigger = |op: &str| {
                format!(
                    "CREATE TRIGGER alter_{op} BEFORE {op} ON {table} FOR EACH ROW
                     BEGIN {set} INSERT INTO writes VALUES (NEW.{key}); END;"
                )
            };
            trigger("insert") + &trigger("update")
        }
        Database::Postgres { .. } => {
            let set: String = fields.iter().map(|(field, made)| format!("NEW.{field} := {made}; ")).collect();
            format!(
                "CREATE FUNCTION alter_it() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN {set} INSERT INTO writes VALUES (NEW.{key}); RETURN NEW; END $$;
                 CREATE TRIGGER alter_it BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION alter_it()"
            )
        }
    };
    database.execute(&sql).await;
}

fn configure(setup: &Setup, sync_type: &str) {
    let field = |name| json!({"source": name, "target": name});
    setup.configure(json!({
        "sync_type": sync_type,
        "field_mappings": [
            {"source": "id", "target": "client_id"}, {"source": "name", "target": "full_name"},
            field("phone"), field("price"), field("code"),
        ],
    }));
}

/// Neither database is written to, however often it is looked at.
async fn at_rest(setup: &Setup) {
    for database in [&setup.source, &setup.target] {
        database.execute("DELETE FROM writes").await;
    }
    for _ in 0..2 {
        setup.quiet();
    }
    for database in [&setup.source, &setup.target] {
        assert!(database.rows("SELECT CAST(id AS TEXT) FROM writes").await.is_empty(), "a write at rest");
    }
}

async fn seen(database: &Database, sql: &str) -> Vec<String> {
    let mut texts: Vec<String> =
        database.rows(sql).await.remove(0).into_iter().map(Option::unwrap_or_default).collect();
    // A price with the zeros that MySQL prints is the same price.
    if let Some(price) = texts.get_mut(2) {
        price.truncate(price.trim_end_matches('0').len());
    }
    texts
}

const SOURCE: &str = "SELECT name, phone, CAST(price AS TEXT), code FROM customers WHERE id = 1";
const TARGET: &str = "SELECT full_name, phone, CAST(price AS TEXT), code FROM clients WHERE client_id = 1";

/// Nothing is written at rest, and each edit still travels; a side's own form is not pressed upon the other.
pub async fn nothing_is_written_at_rest(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    tables(&setup, kinds).await;
    configure(&setup, "bidirectional");
    setup
        .source
        .execute("INSERT INTO customers (id, name, phone, price, code) VALUES (1, ' Ada ', '12-34', 2.3456, 'Ab')")
        .await;
    setup.target.execute("INSERT INTO clients (client_id, full_name, price) VALUES (2, ' Bob ', 7.77)").await;
    setup.tidelock.once(0);
    assert_eq!(seen(&setup.source, SOURCE).await, [" ADA ", "12-34", "2.3456", "Ab"]);
    assert_eq!(seen(&setup.target, TARGET).await, ["ada", "1234", "2.3", "Ab"]);
    assert_eq!(setup.source.value("SELECT name FROM customers WHERE id = 2").await.as_deref(), Some("BOB"));
    at_rest(&setup).await;

    let edits = [
        // The rest of the record stays as each side has it.
        (
            &setup.source,
            "UPDATE customers SET name = 'Ada L.' WHERE id = 1",
            ["ADA L.", "12-34", "2.3456", "Ab"],
            ["ada l.", "1234", "2.3", "Ab"],
        ),
        (
            &setup.target,
            "UPDATE clients SET full_name = 'Countess' WHERE client_id = 1",
            ["COUNTESS", "12-34", "2.3456", "Ab"],
            ["countess", "1234", "2.3", "Ab"],
        ),
        // What the other side throws away is no edit there, and does not come back; what it takes for equal is one all the same.
        (
            &setup.source,
            "UPDATE customers SET phone = '1-234', price = 2.3333, code = 'AB' WHERE id = 1",
            ["COUNTESS", "1-234", "2.3333", "AB"],
            ["countess", "1234", "2.3", "AB"],
        ),
    ];
    for (database, edit, source, target) in edits {
        database.execute(edit).await;
        setup.tidelock.once(0);
        assert_eq!(seen(&setup.source, SOURCE).await, source, "{edit}");
        assert_eq!(seen(&setup.target, TARGET).await, target, "{edit}");
        at_rest(&setup).await;
    }
}

/// The same for copies, which remember nothing of what was stored.
pub async fn a_copy_is_at_rest(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    tables(&setup, kinds).await;
    configure(&setup, "one_way");
    setup
        .source
        .execute("INSERT INTO customers (id, name, phone, price, code) VALUES (1, ' Ada ', '12-34', 2.3456, 'Ab')")
        .await;
    setup.tidelock.once(0);
    assert_eq!(seen(&setup.target, TARGET).await, ["ada", "1234", "2.3", "Ab"]);
    at_rest(&setup).await;
    setup.source.execute("UPDATE customers SET code = 'AB' WHERE id = 1").await;
    setup.tidelock.once(0);
    assert_eq!(seen(&setup.target, TARGET).await, ["ada", "1234", "2.3", "AB"]);
    at_rest(&setup).await;
}

/// While the service runs, one edit is one write on the other side: the two systems' forms do not chase each other.
pub async fn forms_do_not_chase_each_other(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    tables(&setup, kinds).await;
    configure(&setup, "bidirectional");
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 2", "bob").await;
    for round in 0..3 {
        setup.source.execute(&format!("UPDATE customers SET name = 'Ada {round}' WHERE id = 1")).await;
        let shouted = format!("ada {round}");
        setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", &shouted).await;
        setup.target.execute(&format!("UPDATE clients SET full_name = 'Countess {round}' WHERE client_id = 1")).await;
        let whispered = format!("COUNTESS {round}");
        setup.source.await_value("SELECT name FROM customers WHERE id = 1", &whispered).await;
    }
    // One there and back after the last: by then an echo of it would have been written.
    travel(&setup, 0).await;
    for database in [&setup.source, &setup.target] {
        database.execute("DELETE FROM writes WHERE id = 1").await;
    }
    for round in 1..4 {
        travel(&setup, round).await;
    }
    for database in [&setup.source, &setup.target] {
        assert!(database.rows("SELECT CAST(id AS TEXT) FROM writes WHERE id = 1").await.is_empty(), "it goes on");
    }
    assert_eq!(service.stop(), 0, "{}", service.log());
    at_rest(&setup).await;
}

/// An edit of another record goes there and back.
async fn travel(setup: &Setup, round: u32) {
    setup.source.execute(&format!("UPDATE customers SET phone = 'p{round}' WHERE id = 2")).await;
    setup.target.await_value("SELECT phone FROM clients WHERE client_id = 2", &format!("p{round}")).await;
    setup.target.execute(&format!("UPDATE clients SET code = 'c{round}' WHERE client_id = 2")).await;
    setup.source.await_value("SELECT code FROM customers WHERE id = 2", &format!("c{round}")).await;
}

/// Two pairs over the same tables: what one makes even, the other turns round. Record 2 is none of that.
pub(super) async fn contradiction(kinds: (Kind, Kind), sync_type: &str, breaker: bool) -> Setup {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let pair = |name: &str, (source, target): (Value, Value), (from, to): (&str, &str), map: Value| {
        let key = json!({"source": from, "target": to});
        json!({"connection_name": name, "source": source, "target": target, "sync_type": sync_type, "key": key,
            "field_mappings": [key, {"source": "phone", "target": "phone", "value_map": map}]})
    };
    let ends = || (setup.source.endpoint("crm", "customers"), setup.target.endpoint("erp", "clients"));
    let (customers, clients) = ends();
    let even = pair("even", (customers, clients), ("id", "client_id"), json!({"on": "on", "off": "off"}));
    let (customers, clients) = ends();
    let odd = pair("odd", (clients, customers), ("client_id", "id"), json!({"on": "off", "off": "on"}));
    setup.tidelock.configure(&json!({"syncs": [even, odd], "loop_prevention": {"enabled": breaker}}));
    setup.source.execute("INSERT INTO customers (id, phone) VALUES (1, 'on'), (2, 'other')").await;
    setup
}

/// Copies that contradict each other would go on for ever: the record waits in review, and others flow.
pub async fn copies_that_contradict_each_other_are_stopped(kinds: (Kind, Kind)) {
    let setup = contradiction(kinds, "one_way", true).await;
    let mut service = setup.tidelock.serve();
    service.address().await;
    let waits = || setup.review(0, &["list", "--kind", "loop"]).lines;
    let begin = std::time::Instant::now();
    while waits().is_empty() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "it goes on\n{}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let listed = waits();
    assert!(
        listed.iter().all(|one| one["code"] == "record.loop" && one["key"] == "1" && one["other_key"] == "1"),
        "{listed:?}"
    );
    setup.source.execute("UPDATE customers SET phone = 'new' WHERE id = 2").await;
    setup.target.await_value("SELECT phone FROM clients WHERE client_id = 2", "new").await;
    assert_eq!(service.stop(), 0, "{}", service.log());
}

/// Without the breaker it is said at least, not called done.
pub async fn copies_that_contradict_each_other_are_told(kinds: (Kind, Kind)) {
    let setup = contradiction(kinds, "one_way", false).await;
    let ran = setup.tidelock.once(1);
    for line in &ran.lines {
        assert!(line["error"].to_string().contains("contradict each other"), "{line}");
    }
    assert_eq!(setup.target.value("SELECT phone FROM clients WHERE client_id = 2").await.as_deref(), Some("other"));
}
