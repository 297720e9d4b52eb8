//! Tables that are not plain: views, partitions, composite keys, keys that take different texts for equal, columns that the system makes.

use serde_json::{Value, json};

use crate::harness::{Tidelock, is_mariadb};
use crate::scenarios::{Kind, Setup, program};

/// A configuration of `a` and `b` with more keys merged in.
fn configure(setup: &Setup, more: Value) {
    let mut config = json!({"connection_name": "p", "source": setup.source.endpoint("crm", "a"), "target": setup.target.endpoint("erp", "b")});
    merge(&mut config, more);
    setup.tidelock.configure(&config);
}

fn merge(config: &mut Value, more: Value) {
    match (config, more) {
        (Value::Object(config), Value::Object(more)) => {
            for (key, value) in more {
                merge(config.entry(key).or_insert(Value::Null), value);
            }
        }
        (config, more) => *config = more,
    }
}

async fn equal(setup: &Setup, columns: &str, order: &str) -> Vec<Vec<Option<String>>> {
    let read = |table: &str| format!("SELECT {columns} FROM {table} ORDER BY {table}.{order}");
    let (source, target) = (setup.source.rows(&read("a")).await, setup.target.rows(&read("b")).await);
    assert_eq!(source, target);
    source
}

fn codes(tidelock: &Tidelock) -> Vec<String> {
    let checked = tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    let problems = checked.lines[0]["problems"].as_array().unwrap().clone();
    problems.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

async fn a_view_is_copied(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup
        .source
        .execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(40), cents INTEGER, at TIMESTAMP NULL)")
        .await;
    setup
        .source
        .execute("CREATE VIEW a AS SELECT id, name, cents / 100 AS euros, at FROM people WHERE cents > 0")
        .await;
    setup.target.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, name VARCHAR(40), euros INTEGER)").await;
    setup
        .source
        .execute(
            "INSERT INTO people VALUES (1, 'Ada', 100, '2026-01-01 00:00:00'), (2, 'Bob', 0, '2026-01-01 00:00:00')",
        )
        .await;
    let fields = json!([{"source": "id", "target": "id"}, {"source": "name", "target": "name"}, {"source": "euros", "target": "euros"}]);
    let polled = json!({"sync_type": "one_way", "field_mappings": fields, "source": {"updated_at": "at"},
        "performance_settings": {"change_detection": "polling"}});
    configure(&setup, polled.clone());
    let unkeyed = setup.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    assert!(
        format!("{:?}", unkeyed.lines).contains("which of its columns tell its records apart"),
        "{:?}",
        unkeyed.lines
    );

    let mut keyed = polled;
    merge(&mut keyed, json!({"key": {"source": "id", "target": "id"}}));
    configure(&setup, keyed.clone());
    setup.tidelock.once(0);
    setup.source.execute("UPDATE people SET name = 'Ada L.', at = '2026-01-01 00:05:00' WHERE id = 1").await;
    setup.source.execute("UPDATE people SET cents = 700, at = '2026-01-01 00:05:00' WHERE id = 2").await;
    setup.tidelock.once(0);
    let rows = setup.target.rows("SELECT name, CAST(euros AS TEXT) FROM b ORDER BY id").await;
    let row = |name: &str, euros: &str| vec![Some(name.to_owned()), Some(euros.to_owned())];
    assert_eq!(rows, [row("Ada L.", "1"), row("Bob", "7")]);
    assert_eq!(setup.tidelock.once(0).number("written_target"), 0);
    assert_eq!(setup.tidelock.audit(0).number("matching"), 2);

    for wrong in [
        json!({"performance_settings": {"change_detection": "database_triggers"}}),
        json!({"sync_type": "bidirectional", "target": {"updated_at": "id"}}),
    ] {
        let mut config = keyed.clone();
        merge(&mut config, wrong);
        configure(&setup, config);
        let found = codes(&setup.tidelock);
        assert!(found.contains(&"mapping.view".to_owned()), "{found:?}");
    }
}

#[tokio::test]
async fn a_view_is_copied_by_polling() {
    a_view_is_copied((Kind::Postgres, Kind::Sqlite)).await;
    a_view_is_copied((Kind::Mysql, Kind::Postgres)).await;
    a_view_is_copied((Kind::Sqlite, Kind::Mysql)).await;
}

const PARTITIONED: &str = "(region TEXT, id INTEGER, name TEXT, PRIMARY KEY (region, id)) PARTITION BY LIST (region)";

async fn partitions(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    let create = |table: &str| {
        format!(
            "CREATE TABLE {table} {PARTITIONED}; CREATE TABLE {table}_eu PARTITION OF {table} FOR VALUES IN ('eu'); \
             CREATE TABLE {table}_us PARTITION OF {table} FOR VALUES IN ('us')"
        )
    };
    setup.source.execute(&create("a")).await;
    setup.target.execute(&create("b")).await;
    setup.source.execute("INSERT INTO a SELECT CASE WHEN g % 2 = 0 THEN 'eu' ELSE 'us' END, g, 'n' || g FROM generate_series(1, 200) g").await;
    configure(&setup, json!({"sync_type": "bidirectional"}));
    setup.tidelock.once(0);
    let columns = "region, CAST(id AS TEXT), name";
    assert_eq!(equal(&setup, columns, "id").await.len(), 200);

    // A record that moves to another partition is one that goes and one that comes.
    setup.source.execute("UPDATE a SET region = 'eu' WHERE id = 1; UPDATE a_us SET name = 'direct' WHERE id = 3").await;
    setup.source.execute("INSERT INTO a_eu VALUES ('eu', 500, 'new'); DELETE FROM a WHERE id = 5").await;
    setup.target.execute("UPDATE b SET name = 'back' WHERE id = 7; DELETE FROM b_eu WHERE id = 2").await;
    setup.tidelock.once(0);
    let rows = equal(&setup, columns, "id").await;
    assert_eq!(rows.len(), 199);
    setup.quiet();
    // A partition that is added later takes part.
    setup.source.execute("CREATE TABLE a_as PARTITION OF a FOR VALUES IN ('as')").await;
    setup.target.execute("CREATE TABLE b_as PARTITION OF b FOR VALUES IN ('as')").await;
    setup.source.execute("INSERT INTO a VALUES ('as', 1, 'late')").await;
    setup.tidelock.once(0);
    assert_eq!(equal(&setup, columns, "id").await.len(), 200);
}

#[tokio::test]
async fn partitioned_tables_are_kept_in_step() {
    partitions((Kind::Postgres, Kind::Postgres)).await;
    partitions((Kind::PostgresLog, Kind::PostgresLog)).await;
}

/// A composite key of types that each system spells in its own way, in a target that is made for it.
async fn composite(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    let types = if kinds.0.is_postgres() {
        ["uuid", "varchar(20)", "timestamptz", "numeric(20,4)", "date"]
    } else if matches!(kinds.0, Kind::Mysql) {
        [if is_mariadb() { "uuid" } else { "char(36)" }, "varchar(20)", "datetime(6)", "decimal(20,4)", "date"]
    } else {
        ["UUID NOT NULL", "TEXT NOT NULL", "TIMESTAMPTZ NOT NULL", "DECIMALTEXT NOT NULL", "DATE NOT NULL"]
    };
    let columns: Vec<String> =
        ["u", "t", "at", "n", "d"].iter().zip(types).map(|(name, of)| format!("{name} {of}")).collect();
    setup
        .source
        .execute(&format!("CREATE TABLE a ({}, v INTEGER, PRIMARY KEY (u, t, at, n, d))", columns.join(", ")))
        .await;
    let insert = |table: &str, id: u32, text: &str, number: &str| {
        format!(
            "INSERT INTO {table} VALUES ('00000000-0000-0000-0000-00000000000{id}', '{text}', '2024-03-31 01:30:00.123456', {number}, '9999-12-31', {id})"
        )
    };
    for (id, text, number) in [(1, "a ", "'1.5'"), (2, "A", "'1234567890123456.7891'"), (3, "😀", "'-0.0001'")] {
        setup.source.execute(&insert("a", id, text, number)).await;
    }
    configure(&setup, json!({"sync_type": "bidirectional", "create_target": true}));
    setup.tidelock.once(0);
    setup.source.execute("UPDATE a SET v = 10 WHERE v = 1; DELETE FROM a WHERE v = 2").await;
    setup.target.execute("UPDATE b SET v = 30 WHERE v = 3").await;
    setup.target.execute(&insert("b", 4, "new", "'7'")).await;
    setup.tidelock.once(0);
    let values = "SELECT CAST(v AS TEXT) FROM";
    let expected: Vec<Vec<Option<String>>> = ["4", "10", "30"].iter().map(|v| vec![Some((*v).to_owned())]).collect();
    assert_eq!(setup.source.rows(&format!("{values} a ORDER BY a.v")).await, expected);
    assert_eq!(setup.target.rows(&format!("{values} b ORDER BY b.v")).await, expected);
    setup.quiet();
    assert_eq!(setup.tidelock.audit(0).number("matching"), 3);
}

#[tokio::test]
async fn composite_keys_of_many_types_go_both_ways() {
    composite((Kind::Postgres, Kind::Mysql)).await;
    composite((Kind::Postgres, Kind::Sqlite)).await;
    composite((Kind::PostgresLog, Kind::Postgres)).await;
    composite((Kind::Mysql, Kind::Postgres)).await;
    composite((Kind::Sqlite, Kind::Mysql)).await;
    composite((Kind::Mysql, Kind::Sqlite)).await;
}

fn folding_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "TEXT COLLATE NOCASE PRIMARY KEY",
        Kind::Mysql | Kind::MysqlLog => "VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY",
        Kind::Postgres | Kind::PostgresLog => "citext PRIMARY KEY",
    }
}

/// The target takes texts for equal that the source tells apart: no record may be overwritten by another one.
async fn folded(kinds: (Kind, Kind), sync_type: &str) {
    let setup = Setup::new(kinds).await;
    if kinds.1.is_postgres() {
        setup.target.execute("CREATE EXTENSION citext").await;
    }
    let exact = if matches!(kinds.0, Kind::Mysql) {
        "VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY"
    } else {
        "VARCHAR(40) PRIMARY KEY"
    };
    setup.source.execute(&format!("CREATE TABLE a (k {exact}, v INTEGER)")).await;
    setup.target.execute(&format!("CREATE TABLE b (k {}, v INTEGER)", folding_key(kinds.1))).await;
    setup.source.execute("INSERT INTO a VALUES ('Ann', 1), ('bob', 2)").await;
    configure(&setup, json!({"sync_type": sync_type}));
    setup.tidelock.once(0);
    setup.source.execute("INSERT INTO a VALUES ('ann', 3), ('cid', 4)").await;
    let ran = setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert_eq!(ran.code, 1, "{kinds:?} {sync_type}: it cannot go in: {:?}", ran.lines);
    let target = "SELECT k, CAST(v AS TEXT) FROM b ORDER BY v";
    let row = |key: &str, value: &str| vec![Some(key.to_owned()), Some(value.to_owned())];
    assert_eq!(
        setup.target.rows(target).await,
        [row("Ann", "1"), row("bob", "2"), row("cid", "4")],
        "{kinds:?} {sync_type}"
    );
    // The other one goes: its place is free.
    setup.source.execute("DELETE FROM a WHERE k = 'Ann'").await;
    setup.source.execute("UPDATE a SET v = 5 WHERE k = 'ann'").await;
    setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert_eq!(
        setup.target.rows(target).await,
        [row("bob", "2"), row("cid", "4"), row("ann", "5")],
        "{kinds:?} {sync_type}"
    );
    // A key that is only spelt anew.
    setup.source.execute("UPDATE a SET k = 'BOB' WHERE k = 'bob'").await;
    setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    let keys: Vec<String> = setup.target.rows(target).await.into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert!(keys.contains(&"BOB".to_owned()), "{kinds:?} {sync_type}: {keys:?}");
}

#[tokio::test]
async fn keys_that_a_target_takes_for_equal_overwrite_nothing() {
    for kinds in [(Kind::Sqlite, Kind::Postgres), (Kind::Postgres, Kind::Sqlite), (Kind::Postgres, Kind::Mysql)] {
        folded(kinds, "one_way").await;
    }
    folded((Kind::Sqlite, Kind::Postgres), "bidirectional").await;
}

/// Columns that a system makes are read, and never written.
#[tokio::test]
async fn what_a_system_makes_is_never_written() {
    for kinds in [(Kind::Postgres, Kind::Mysql), (Kind::Mysql, Kind::Postgres)] {
        let setup = Setup::new(kinds).await;
        let table = |kind: Kind| match kind {
            Kind::Mysql => "(id INTEGER PRIMARY KEY AUTO_INCREMENT, n INTEGER, twice INTEGER AS (n * 2) STORED)",
            _ => {
                "(id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n INTEGER, twice INTEGER GENERATED ALWAYS AS (n * 2) STORED)"
            }
        };
        setup.source.execute(&format!("CREATE TABLE a {}", table(kinds.0))).await;
        setup.target.execute(&format!("CREATE TABLE b {}", table(kinds.1).replace("n * 2", "n * 3"))).await;
        setup.source.execute("INSERT INTO a (n) VALUES (1), (2)").await;
        configure(&setup, json!({"sync_type": "bidirectional"}));
        assert!(codes(&setup.tidelock).contains(&"mapping.read_only_field".to_owned()));
        let fields = json!({"sync_type": "bidirectional", "field_mappings": [{"source": "id", "target": "id"}, {"source": "n", "target": "n"}]});
        configure(&setup, fields);
        setup.tidelock.once(0);
        setup.target.execute("UPDATE b SET n = 5 WHERE id = 1").await;
        let overriding = if kinds.1.is_postgres() { "OVERRIDING SYSTEM VALUE" } else { "" };
        setup.target.execute(&format!("INSERT INTO b (id, n) {overriding} VALUES (10, 7)")).await;
        setup.tidelock.once(0);
        assert_eq!(equal(&setup, "CAST(id AS TEXT), CAST(n AS TEXT)", "id").await.len(), 3);
        let twice = setup.source.rows("SELECT CAST(twice AS TEXT) FROM a ORDER BY a.id").await;
        assert_eq!(twice, ["10", "4", "14"].map(|n| vec![Some(n.to_owned())]));
        setup.quiet();
    }
}

/// Bits are digits of zero and one in one system, and a number in the other.
#[tokio::test]
async fn bits_are_not_taken_for_another_number() {
    let setup = Setup::new((Kind::Postgres, Kind::Mysql)).await;
    setup.source.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, v bit(8))").await;
    setup.target.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, v bit(8))").await;
    configure(&setup, json!({"sync_type": "one_way"}));
    let checked = setup.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    assert_eq!(checked.code, 2);
    assert!(format!("{:?}", checked.lines).contains("mapping.bits"), "{:?}", checked.lines);
}

/// A poll of a table sees what triggers do: the same program, another way of seeing.
#[tokio::test]
async fn a_materialized_view_is_copied() {
    let tidelock = program(&[Kind::Postgres]);
    let source = Kind::Postgres.open(tidelock.folder.path(), "").await;
    let target = Kind::Sqlite.open(tidelock.folder.path(), "target.db").await;
    source
        .execute("CREATE TABLE t (id int, at timestamptz DEFAULT now()); INSERT INTO t SELECT generate_series(1, 100)")
        .await;
    source.execute("CREATE MATERIALIZED VIEW a AS SELECT id, at FROM t").await;
    let setup = Setup { source, target, tidelock };
    configure(
        &setup,
        json!({"sync_type": "one_way", "create_target": true, "key": {"source": "id", "target": "id"},
        "source": {"updated_at": "at"}, "performance_settings": {"change_detection": "polling"}}),
    );
    setup.tidelock.once(0);
    setup.source.execute("INSERT INTO t VALUES (101); REFRESH MATERIALIZED VIEW a").await;
    assert_eq!(setup.tidelock.once(0).number("written_target"), 1, "what was there already is not written again");
    assert_eq!(setup.target.value("SELECT CAST(count(*) AS TEXT) FROM b").await.as_deref(), Some("101"));
}
