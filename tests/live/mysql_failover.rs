//! A replica is made the primary: who read the primary's log goes on in the replica's, which is in other files, by the ids of transactions.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection;
use tidelock::change::Position;
use tidelock::connector::Side;
use tidelock::error::{ErrorKind, SyncError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{Tidelock, is_mariadb, mysql_connection};
use crate::mysql_binlog::{drain, endpoint, open, shown};
use crate::mysql_server::Server;

async fn run(server: &Server, sql: &str) {
    let mut connection = mysql_connection(&server.url("mysql")).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn count(server: &Server, sql: &str) -> i64 {
    let mut connection = mysql_connection(&server.url("mysql")).await;
    let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await;
    connection.close().await.unwrap();
    found.unwrap_or_default()
}

async fn reset(server: &Server) {
    run(server, if is_mariadb() { "RESET MASTER" } else { "RESET BINARY LOGS AND GTIDS" }).await;
}

/// A server whose log has ids and nothing in it.
async fn server(id: &str, files: &str, more: &[&str]) -> Server {
    let (id, files) = (format!("--server-id={id}"), format!("--log-bin={files}"));
    let own: &[&str] = if is_mariadb() {
        &["--log-slave-updates=ON"]
    } else {
        &["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--loose-log-replica-updates=ON"]
    };
    let server = Server::with(&[&[id.as_str(), files.as_str()], own, more].concat(), &[]).await;
    reset(&server).await;
    server
}

/// Has `replica` follow `primary`.
async fn follow(replica: &Server, primary: &Server) {
    let (port, password) = (primary.address().rsplit_once(':').unwrap().1.to_owned(), primary.password());
    let sql = if is_mariadb() {
        format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'tidelock', MASTER_PASSWORD = '{password}', \
             MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1; START SLAVE"
        )
    } else {
        format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'tidelock', \
             SOURCE_PASSWORD = '{password}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1; START REPLICA"
        )
    };
    run(replica, &sql).await;
}

async fn promote(replica: &Server) {
    run(replica, if is_mariadb() { "STOP SLAVE" } else { "STOP REPLICA" }).await;
}

/// Waits until a server has a row.
async fn arrived(server: &Server, table: &str, id: u32) {
    for _ in 0..600 {
        if count(server, &format!("SELECT COUNT(*) FROM {table} WHERE id = {id}")).await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("row {id} of {table} does not arrive");
}

const TABLE: &str = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(50), w INT)";

async fn side(server: &Server) -> Side {
    open(&endpoint(&server.url("d"), "t")).await
}

async fn refusal(server: &Server, position: &Position) -> SyncError {
    side(server).await.source.next_batch(position, 100).await.expect_err("another log")
}

#[tokio::test]
async fn a_reader_goes_on_in_the_log_of_a_replica() {
    let (mut primary, replica) = (server("11", "binlog", &[]).await, server("12", "other", &[]).await);
    follow(&replica, &primary).await;
    run(&primary, TABLE).await;
    let mut reader = side(&primary).await;
    reader.source.prepare().await.unwrap();
    let mut position = reader.source.head().await.unwrap();
    run(&primary, "INSERT INTO d.t VALUES (1, 'a', 1); FLUSH BINARY LOGS; UPDATE d.t SET w = 2; INSERT INTO d.t VALUES (2, 'b', 1)").await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U1 U1 U2");
    let read = position.clone();
    // What nobody has read yet when the primary goes; it is in one file there, and in several here.
    run(&replica, "FLUSH BINARY LOGS").await;
    run(
        &primary,
        "INSERT INTO d.t VALUES (3, 'c', 1); DELETE FROM d.t WHERE id = 1; INSERT INTO d.t VALUES (4, 'd', 1)",
    )
    .await;
    arrived(&replica, "d.t", 4).await;
    primary.crash();
    promote(&replica).await;
    run(&replica, "UPDATE d.t SET w = 9 WHERE id = 2; FLUSH BINARY LOGS; INSERT INTO d.t VALUES (5, 'e', 1)").await;
    let mut reader = side(&replica).await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U3 D1 U4 U2 U5", "all of it, once");
    // From here on the place is one of this server, and whoever comes later goes by it.
    run(&replica, "INSERT INTO d.t VALUES (6, 'f', 1)").await;
    let mut later = position.clone();
    assert_eq!(drain(&mut *side(&replica).await.source, &mut later).await, "U6");
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U6");
    // A server that does not have what was read, and one whose transactions have the same numbers.
    let stranger = server("13", "binlog", &[]).await;
    run(&stranger, TABLE).await;
    let error = refusal(&stranger, &read).await;
    assert!(error.code == "source.tracking_lost" && error.message.contains("does not have all"), "{error}");
}

/// An address behind which is one server, then another; whoever is connected stays with the first.
async fn address(leads_to: &watch::Receiver<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, leads_to) = (listener.local_addr().unwrap().to_string(), leads_to.clone());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = leads_to.borrow().clone();
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                }
            });
        }
    });
    address
}

/// The reader lives on, with all that it knows of the first server's log.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_where_its_address_leads_to_a_replica() {
    let (mut primary, replica) = (server("17", "binlog", &[]).await, server("18", "other", &[]).await);
    follow(&replica, &primary).await;
    run(&primary, TABLE).await;
    let (leads, leads_to) = watch::channel(primary.address());
    let address = address(&leads_to).await;
    let mut reader = open(&endpoint(&primary.url("d").replace(&primary.address(), &address), "t")).await;
    reader.source.prepare().await.unwrap();
    let mut position = reader.source.head().await.unwrap();
    // Its places are far behind those of the replica's log.
    run(&primary, "FLUSH BINARY LOGS; FLUSH BINARY LOGS; INSERT INTO d.t VALUES (1, 'a', 1)").await;
    reader.source.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U1");
    reader.source.wait(Duration::ZERO).await.unwrap();
    arrived(&replica, "d.t", 1).await;
    primary.crash();
    promote(&replica).await;
    leads.send(replica.address()).unwrap();
    run(&replica, "INSERT INTO d.t VALUES (2, 'b', 1); UPDATE d.t SET w = 3").await;
    let (mut seen, mut errors) = (Vec::new(), 0);
    while seen.len() < 3 {
        match reader.source.next_batch(&position, 10).await {
            Ok(batch) => {
                seen.extend(batch.changes);
                position = batch.through;
            }
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
                errors += 1;
                assert!(errors < 50, "it does not come back: {error}");
            }
        }
        reader.source.wait(Duration::from_millis(100)).await.unwrap();
    }
    assert_eq!(shown(&seen), "U2 U1 U2");
    reader.source.acknowledge(&position).await.unwrap();
    run(&replica, "DELETE FROM d.t WHERE id = 1").await;
    reader.source.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(drain(&mut *reader.source, &mut position).await, "D1");
}

#[tokio::test]
async fn the_same_number_of_another_transaction_is_not_taken_for_it() {
    let server = server("14", "binlog", &[]).await;
    let write = "INSERT INTO d.t VALUES (1, 'a', 1); INSERT INTO d.t VALUES (2, 'b', 1); DELETE FROM d.t";
    run(&server, TABLE).await;
    let mut reader = side(&server).await;
    reader.source.prepare().await.unwrap();
    let mut position = reader.source.head().await.unwrap();
    run(&server, write).await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U1 U2 D1 D2");
    drop(reader);
    // Times of transactions are whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    reset(&server).await;
    for _ in 0..10 {
        run(&server, write).await;
    }
    let error = refusal(&server, &position).await;
    assert!(error.code == "source.tracking_lost" && error.message.contains("of that number"), "{error}");
}

#[tokio::test]
async fn a_pair_goes_on_where_its_host_is_another() {
    let (mut primary, replica) = (server("15", "binlog", &[]).await, server("16", "other", &[]).await);
    follow(&replica, &primary).await;
    run(&primary, TABLE).await;
    run(&primary, "INSERT INTO d.t VALUES (1, 'a', 1), (2, 'b', 1)").await;
    let tidelock = Tidelock::new();
    let target = crate::harness::Database::sqlite(tidelock.folder.path(), "target.db").await;
    target.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT, w INTEGER)").await;
    let configure = |server: &Server| {
        tidelock.configure(&json!({
            "connection_name": "moves", "sync_type": "bidirectional",
            "source": {"type": "mysql", "name": "shop", "url": server.url("d"), "table": "t"}, "target": target.endpoint("copy", "b"),
            "field_mappings": (["id", "v", "w"].map(|name| json!({"source": name, "target": name}))),
            "performance_settings": {"change_detection": "binlog"},
        }));
    };
    configure(&primary);
    tidelock.once(0);
    target.execute("UPDATE b SET w = 5 WHERE id = 2").await;
    tidelock.once(0);
    run(&primary, "INSERT INTO d.t VALUES (3, 'c', 1); DELETE FROM d.t WHERE id = 1").await;
    run(&primary, "INSERT INTO d.t VALUES (7, 'g', 1)").await;
    arrived(&replica, "d.t", 7).await;
    primary.crash();
    promote(&replica).await;
    run(&replica, "UPDATE d.t SET v = 'new' WHERE id = 2").await;
    configure(&replica);
    let ran = tidelock.once(0);
    assert_eq!(
        (ran.number("written_target"), ran.number("written_source")),
        (4, 0),
        "no load, no more than what changed: {:?}",
        ran.lines
    );
    let now = target.rows("SELECT CAST(id AS TEXT), v, CAST(w AS TEXT) FROM b ORDER BY id").await;
    let now: Vec<String> = now.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(now, ["2 new 5", "3 c 1", "7 g 1"]);
    target.execute("DELETE FROM b WHERE id = 3").await;
    tidelock.once(0);
    assert_eq!(count(&replica, "SELECT COUNT(*) FROM d.t").await, 2);
    tidelock.audit(0);
}
