//! Names that need quoting, wherever a name stands: tables, columns, tracking objects, and what is made.

use serde_json::json;

use super::{Kind, Setup};
use crate::harness::Database;

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name: keyword, capital letters, a quote, a blank and a backtick, as long as every system takes.
fn table() -> String {
    format!("Select \"a`b{}", "x".repeat(52))
}

const COLUMNS: [&str; 5] = ["Order", "select", "ba`ck", "quo\"te", "it's ünï %s $1 ?"];

async fn rows(database: &Database) -> Vec<Vec<Option<String>>> {
    let names: Vec<String> = COLUMNS[1..].iter().map(|name| quote(name)).collect();
    let key = quote(COLUMNS[0]);
    let sql = format!("SELECT CAST({key} AS TEXT), {} FROM {} ORDER BY {key}", names.join(", "), quote(&table()));
    database.rows(&sql).await
}

pub async fn odd_names_are_kept_in_step(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    let (table, columns) = (table(), COLUMNS.map(quote));
    assert_eq!(table.len(), 63);
    let texts: Vec<String> = columns[1..].iter().map(|name| format!("{name} VARCHAR(40)")).collect();
    let create = format!("CREATE TABLE {} ({} INTEGER PRIMARY KEY, {})", quote(&table), columns[0], texts.join(", "));
    setup.source.execute(&create).await;
    let insert = |id: u32| format!("INSERT INTO {} VALUES ({id}, 's', 'b', 'q', 'i')", quote(&table));
    setup.source.execute(&insert(1)).await;
    setup.source.execute(&insert(2)).await;
    setup.tidelock.configure(&json!({
        "connection_name": "odd",
        "source": setup.source.endpoint("crm", &table),
        "target": setup.target.endpoint("erp", &table),
        "sync_type": "bidirectional",
        "create_target": true,
    }));
    setup.tidelock.once(0);
    assert_eq!(rows(&setup.target).await, rows(&setup.source).await);
    for (database, id, column) in
        [(&setup.source, 1, &columns[2]), (&setup.target, 1, &columns[3]), (&setup.target, 2, &columns[4])]
    {
        database.execute(&format!("UPDATE {} SET {column} = 'new' WHERE {} = {id}", quote(&table), columns[0])).await;
    }
    setup.target.execute(&insert(3)).await;
    setup.source.execute(&format!("DELETE FROM {} WHERE {} = 2", quote(&table), columns[0])).await;
    setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    let source = rows(&setup.source).await;
    assert_eq!(rows(&setup.target).await, source);
    let new = |row: &[Option<String>]| row.iter().filter(|value| value.as_deref() == Some("new")).count();
    assert_eq!(new(&source[0]), 2, "{source:?}");
    assert_eq!(source.last().unwrap()[0].as_deref(), Some("3"));
    setup.tidelock.audit(0);
}

pub async fn names_that_a_system_does_not_take_are_refused(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.source.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40))").await;
    let name = match kinds.1 {
        Kind::Sqlite => "sqlite_mine".to_owned(),
        Kind::Postgres | Kind::PostgresLog => "ü".repeat(40),
        Kind::Mysql | Kind::MysqlLog => "smile 😀".to_owned(),
    };
    setup.tidelock.configure(&json!({
        "connection_name": "odd",
        "source": setup.source.endpoint("crm", "customers"),
        "target": setup.target.endpoint("erp", &name),
        "create_target": true,
    }));
    let ran = setup.tidelock.run(&["plan", "sync.json", "--json"]);
    assert_eq!(ran.code, 1, "{:?}\n{}", ran.lines, ran.errors);
    assert!(ran.errors.contains(".name]"), "{}", ran.errors);
}
