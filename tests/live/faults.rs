//! What networks and servers do to a running pair: cut, held back and slow connections, restarts, a crash of the server. The pair says
//! what is wrong while it is, goes on by itself, and nothing is lost, doubled or looping. Tests with a proxy have threads for it: it runs on
//! while a command is waited for.

use std::time::Duration;

use serde_json::json;

use crate::cluster::Cluster;
use crate::harness::proxy::{Proxy, Traffic};
use crate::harness::{Database, Service};
use crate::scenarios::{Kind, Setup, program};

/// Tries without end, so that only the fault decides when the pair goes on.
fn patient() -> serde_json::Value {
    json!({"sync_type": "bidirectional", "error_handling": {"retry_strategy":
        {"max_attempts": 0, "initial_delay_seconds": 0.05, "max_delay_seconds": 0.3}}})
}

/// Host and port of a server's URL.
pub(crate) fn server_of(url: &str) -> String {
    let after = url.rsplit_once('@').unwrap().1;
    after.split_once('/').unwrap().0.to_owned()
}

/// Puts a proxy before the server that is the `end` of the configuration.
async fn behind_a_proxy(setup: &Setup, database: &Database, end: &str) -> Proxy {
    let (Database::Postgres { url, .. } | Database::Mysql { url, .. }) = database else {
        panic!("only servers are behind a network")
    };
    let server = server_of(url);
    let proxy = Proxy::to(server.clone()).await;
    set(setup, end, "url", json!(url.replace(&server, &format!("127.0.0.1:{}", proxy.port()))));
    proxy
}

/// Changes what the configuration says of an end.
fn set(setup: &Setup, end: &str, name: &str, value: serde_json::Value) {
    let path = setup.tidelock.folder.path().join("sync.json");
    let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config[end][name] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

/// An edit of each side, and the wait until it is on the other.
async fn edit(setup: &Setup, id: u32) {
    setup.source.execute(&format!("INSERT INTO customers (id, name) VALUES ({id}, 's{id}')")).await;
    setup.target.execute(&format!("UPDATE clients SET phone = 't{id}' WHERE client_id = 1")).await;
}

async fn arrives(setup: &Setup, id: u32) {
    setup.target.await_value(&format!("SELECT full_name FROM clients WHERE client_id = {id}"), &format!("s{id}")).await;
    setup.source.await_value("SELECT phone FROM customers WHERE id = 1", &format!("t{id}")).await;
}

/// A running service that has loaded a record and carried over an edit of each side.
async fn in_step(setup: &Setup) -> Service {
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "Ada").await;
    edit(setup, 2).await;
    arrives(setup, 2).await;
    service
}

async fn connections_are_cut(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(patient());
    let (database, end) = if kinds.0.is_postgres() { (&setup.source, "source") } else { (&setup.target, "target") };
    let proxy = behind_a_proxy(&setup, database, end).await;
    let mut service = in_step(&setup).await;
    for id in 3..6 {
        // Held back in the middle of whatever it is doing, then cut: nobody knows what has reached the server.
        proxy.set(Traffic::Silent);
        edit(&setup, id).await;
        proxy.set(Traffic::Cut);
        service.awaits_503("postgres.unavailable").await;
        proxy.set(Traffic::Passes);
        arrives(&setup, id).await;
        service.ready().await;
    }
    proxy.set(Traffic::Slow(Duration::from_millis(5)));
    edit(&setup, 6).await;
    arrives(&setup, 6).await;
    proxy.set(Traffic::Passes);
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_source_are_cut() {
    connections_are_cut((Kind::Postgres, Kind::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_source_that_is_read_from_its_log_are_cut() {
    connections_are_cut((Kind::PostgresLog, Kind::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_target_are_cut() {
    connections_are_cut((Kind::Sqlite, Kind::Postgres)).await;
    connections_are_cut((Kind::Sqlite, Kind::PostgresLog)).await;
}

/// Nothing is forwarded any more, and nothing is reset: the one at the other end cannot be told from one that thinks.
async fn half_open(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(patient());
    let (database, end) =
        if matches!(kinds.1, Kind::Sqlite) { (&setup.source, "source") } else { (&setup.target, "target") };
    let proxy = behind_a_proxy(&setup, database, end).await;
    set(&setup, end, "timeout_seconds", json!(1));
    let mut service = in_step(&setup).await;
    for id in 3..5 {
        proxy.set(Traffic::Silent);
        edit(&setup, id).await;
        service.awaits_503("no answer within").await;
        // What was held back reaches the server now, after it was given up.
        proxy.set(Traffic::Passes);
        arrives(&setup, id).await;
        service.ready().await;
    }
    assert!(service.log().contains("connector.no_answer"), "{}", service.log());
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_source_is_given_up() {
    half_open((Kind::Postgres, Kind::Sqlite)).await;
    half_open((Kind::Mysql, Kind::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_source_that_is_read_from_its_log_is_given_up() {
    half_open((Kind::PostgresLog, Kind::Sqlite)).await;
    half_open((Kind::Sqlite, Kind::PostgresLog)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_target_is_given_up() {
    half_open((Kind::Sqlite, Kind::Postgres)).await;
    half_open((Kind::Sqlite, Kind::Mysql)).await;
}

/// What is read waits for what is written: memory does not grow with what is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_target_costs_no_memory() {
    const ROWS: u32 = 40_000;
    const GROWTH_MAX_KIB: u64 = 64 * 1024;
    let setup = Setup::new((Kind::Sqlite, Kind::Postgres)).await;
    setup.tables().await;
    let mut config = patient();
    config["sync_type"] = json!("one_way");
    setup.configure(config);
    let proxy = behind_a_proxy(&setup, &setup.target, "target").await;
    setup.source.execute("INSERT INTO customers (id, name) VALUES (0, 'first')").await;
    let mut service = setup.tidelock.serve();
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients", "1").await;
    let before = service.memory_kib();
    proxy.set(Traffic::Slow(Duration::from_millis(2)));
    // 80 MB, more than the growth that is allowed.
    let rows = format!(
        "INSERT INTO customers (id, name, city) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         SELECT i, 'n' || i, hex(randomblob(1000)) FROM n"
    );
    setup.source.execute(&rows).await;
    let mut most = before;
    let count = "SELECT CAST(count(*) AS TEXT) FROM clients";
    while setup.target.value(count).await != Some((ROWS + 1).to_string()) {
        most = most.max(service.memory_kib());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(most - before <= GROWTH_MAX_KIB, "{before} KiB before, {most} KiB at most");
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

async fn the_server_is_restarted_and_crashes(kinds: (Kind, Kind)) {
    let mut cluster = Cluster::new().await;
    let tidelock = program(&[kinds.0, kinds.1]);
    let target = Database::sqlite(tidelock.folder.path(), "target.db").await;
    let source = Database::Postgres { url: cluster.url(), admin: cluster.url(), name: "none".to_owned() };
    let setup = Setup { source, target, tidelock };
    setup.tables().await;
    setup.configure(patient());
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "Ada").await;
    for id in 2..6 {
        edit(&setup, id).await;
        if id % 2 == 0 {
            cluster.stop();
        } else {
            cluster.crash();
        }
        setup.target.execute(&format!("UPDATE clients SET town = 'town {id}' WHERE client_id = 1")).await;
        service.awaits_503("postgres.unavailable").await;
        cluster.start().await;
        arrives(&setup, id).await;
        setup.source.await_value("SELECT city FROM customers WHERE id = 1", &format!("town {id}")).await;
        service.ready().await;
    }
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

#[tokio::test]
async fn a_server_is_restarted_and_crashes() {
    the_server_is_restarted_and_crashes((Kind::Postgres, Kind::Sqlite)).await;
}

#[tokio::test]
async fn a_server_that_is_read_from_its_log_is_restarted_and_crashes() {
    the_server_is_restarted_and_crashes((Kind::PostgresLog, Kind::Sqlite)).await;
}

/// The server hands a transaction on as it was committed, in one piece: it is not held here.
#[tokio::test]
async fn a_large_transaction_costs_no_memory() {
    const ROWS: u32 = 200_000;
    const GROWTH_MAX_KIB: u64 = 64 * 1024;
    let setup = Setup::new((Kind::PostgresLog, Kind::Sqlite)).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "one_way"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (0, 'first')").await;
    let mut service = setup.tidelock.serve();
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients", "1").await;
    service.ready().await;
    let before = service.memory_kib();
    // 80 MB, more than the growth that is allowed.
    let rows = format!(
        "INSERT INTO customers (id, name, city) SELECT i, 'n' || i, repeat(md5(i::text), 12) FROM generate_series(1, {ROWS}) i"
    );
    setup.source.execute(&rows).await;
    let mut most = before;
    let count = "SELECT CAST(count(*) AS TEXT) FROM clients";
    while setup.target.value(count).await != Some((ROWS + 1).to_string()) {
        most = most.max(service.memory_kib());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(most - before <= GROWTH_MAX_KIB, "{before} KiB before, {most} KiB at most");
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}
