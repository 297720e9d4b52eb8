//! What only a server can get wrong: each with a clear error, and nothing half-created.

use serde_json::{Value, json};

use crate::harness::Database;
use crate::scenarios::{Kind, Setup};

/// A pair of a SQLite source and this target ends with `code`, says `said` and leaves nothing behind. What it said.
async fn refused(target: Value, code: i32, said: &[&str]) -> String {
    let setup = Setup::new((Kind::Sqlite, Kind::Sqlite)).await;
    setup.tables().await;
    setup.configure(json!({"target": target}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert_eq!(ran.code, code, "{}", ran.errors);
    for text in said {
        assert!(ran.errors.contains(text), "no {text:?} in:\n{}", ran.errors);
    }
    let made = "SELECT CAST(count(*) AS TEXT) FROM sqlite_master WHERE name LIKE 'tidelock%'";
    assert_eq!(setup.source.value(made).await.as_deref(), Some("0"));
    assert_eq!(setup.tidelock.state_files(), [""; 0]);
    ran.errors
}

/// No table, function or row of ours is in the server's database.
async fn untouched(database: &Database) {
    let made = "SELECT CAST((SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%') + \
                (SELECT count(*) FROM pg_proc WHERE proname LIKE 'tidelock%') + (SELECT count(*) FROM clients) AS TEXT)";
    assert_eq!(database.value(made).await.as_deref(), Some("0"));
}

fn parts(url: &str) -> (String, u16) {
    let rest = url.split_once("://").unwrap().1;
    let (authority, _) = rest.split_once('/').unwrap();
    let host_port = authority.rsplit('@').next().unwrap();
    let (host, port) = host_port.rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

#[tokio::test]
async fn a_wrong_password() {
    let database = Database::postgres().await;
    let Database::Postgres { url, name, .. } = &database else { unreachable!() };
    let role = format!("r_{name}");
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await;
    let (host, port) = parts(url);
    let target = json!({"type": "postgres", "table": "clients",
        "credentials": {"host": host, "port": port, "database": name, "user": role, "password": "wrong-and-secret"}});
    let said = refused(target, 1, &["password", "check \"user\" and \"password\""]).await;
    database.execute(&format!("DROP ROLE {role}")).await;
    assert!(!said.contains("wrong-and-secret"), "the password is shown:\n{said}");
}

#[tokio::test]
async fn an_unreachable_server() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = json!({"type": "postgres", "table": "clients", "credentials": {"host": "127.0.0.1", "port": port, "database": "d", "user": "u", "password": "${HOME}"}});
    let said = refused(target, 1, &[&format!("127.0.0.1:{port}/d"), "check that the server runs there"]).await;
    assert_eq!(said.matches("refused").count(), 1, "said more than once:\n{said}");
}

#[tokio::test]
async fn a_missing_database() {
    let database = Database::postgres().await;
    let Database::Postgres { url, .. } = &database else { unreachable!() };
    let url = format!("{}_not", url);
    refused(json!({"type": "postgres", "url": url, "table": "clients"}), 1, &["_not", "check \"database\""]).await;
}

#[tokio::test]
async fn a_missing_table() {
    let database = Database::postgres().await;
    database.execute("CREATE TABLE clients (client_id INTEGER PRIMARY KEY)").await;
    refused(database.endpoint("erp", "cliens"), 1, &["cliens", "clients"]).await;
    untouched(&database).await;
}

#[tokio::test]
async fn a_missing_column() {
    let database = Database::postgres().await;
    database
        .execute("CREATE TABLE clients (client_id INTEGER PRIMARY KEY, ful_name TEXT, phone TEXT, town TEXT)")
        .await;
    let said = ["has no column \"full_name\"", "did you mean \"ful_name\"?", "sync.json:"];
    refused(database.endpoint("erp", "clients"), 2, &said).await;
    untouched(&database).await;
}
