//! What only a server can get wrong: each with a clear error, and nothing half-created.

use serde_json::{Value, json};

use crate::harness::Database;
use crate::scenarios::{Kind, Setup};

async fn refused(target: Value, said: &[&str]) {
    let setup = Setup::new((Kind::Sqlite, Kind::Sqlite)).await;
    setup.tables().await;
    setup.configure(json!({"target": target}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    assert!(ran.code == 1 || ran.code == 2, "{}: {}", ran.code, ran.errors);
    for text in said {
        assert!(ran.errors.contains(text), "no {text:?} in:\n{}", ran.errors);
    }
    let made = "SELECT CAST(count(*) AS TEXT) FROM sqlite_master WHERE name LIKE 'tidelock%'";
    assert_eq!(setup.source.value(made).await.as_deref(), Some("0"));
}

fn parts(url: &str) -> (String, u16, String) {
    let rest = url.split_once("://").unwrap().1;
    let (authority, database) = rest.split_once('/').unwrap();
    let host_port = authority.rsplit('@').next().unwrap();
    let (host, port) = host_port.rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap(), database.split('?').next().unwrap().to_owned())
}

#[tokio::test]
async fn a_wrong_password() {
    let database = Database::postgres().await;
    let Database::Postgres { url, name, .. } = &database else { unreachable!() };
    let role = format!("r_{name}");
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await;
    let (host, port, _) = parts(url);
    let target = json!({"type": "postgres", "table": "clients",
        "credentials": {"host": host, "port": port, "database": name, "user": role, "password": "wrong-and-secret"}});
    let setup = Setup::new((Kind::Sqlite, Kind::Sqlite)).await;
    setup.tables().await;
    setup.configure(json!({"target": target}));
    let ran = setup.tidelock.run(&["run", "sync.json", "--once"]);
    database.execute(&format!("DROP ROLE {role}")).await;
    assert!(ran.code == 1 || ran.code == 2);
    assert!(ran.errors.contains("password"), "{}", ran.errors);
    assert!(!ran.errors.contains("wrong-and-secret"), "the password is shown:\n{}", ran.errors);
}

#[tokio::test]
async fn an_unreachable_server() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = json!({"type": "postgres", "table": "clients", "credentials": {"host": "127.0.0.1", "port": port, "database": "d", "user": "u", "password": "${HOME}"}});
    refused(target, &["127.0.0.1", &port.to_string()]).await;
}

#[tokio::test]
async fn a_missing_database() {
    let database = Database::postgres().await;
    let Database::Postgres { url, .. } = &database else { unreachable!() };
    let url = format!("{}_not", url);
    refused(json!({"type": "postgres", "url": url, "table": "clients"}), &["_not"]).await;
}

#[tokio::test]
async fn a_missing_table() {
    let database = Database::postgres().await;
    database.execute("CREATE TABLE clients (client_id INTEGER PRIMARY KEY)").await;
    refused(database.endpoint("erp", "cliens"), &["cliens", "clients"]).await;
}
