//! Forms that a server can be told to write its log in, or to keep its tables in; and the ways in which it lets a reader in.

use tidelock::config::Secret;

use crate::harness::{is_mariadb, mysql_connection};
use crate::mysql_binlog::{drain, endpoint, open, rows};
use crate::mysql_server::Server;

async fn run(server: &Server, sql: &str) {
    let mut connection = mysql_connection(&server.url("d")).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

async fn make(settings: &[&str], table: &str) -> Server {
    let server = Server::with(settings, &[]).await;
    let mut connection = mysql_connection(&server.url("mysql")).await;
    let sql = format!("CREATE DATABASE d; USE d; {table}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    server
}

#[tokio::test]
async fn packed_transactions_and_documents_told_in_part_are_read() {
    let settings: &[&str] = if is_mariadb() {
        &["--log-bin-compress=ON", "--log-bin-compress-min-len=10", "--binlog-row-image=MINIMAL"]
    } else {
        &["--binlog-transaction-compression=ON", "--binlog-row-value-options=PARTIAL_JSON"]
    };
    let server = make(settings, "CREATE TABLE t (doc JSON, id INT PRIMARY KEY, v VARCHAR(50), w INT, at POINT)").await;
    let mut side = open(&endpoint(&server.url("d"), "t")).await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    let long = "x".repeat(1_000);
    run(
        &server,
        &format!("INSERT INTO t (id, doc) VALUES (1, '{{\"a\": 1, \"b\": \"{long}\"}}'), (2, '{{\"a\": 1}}')"),
    )
    .await;
    run(
        &server,
        "UPDATE t SET doc = JSON_SET(doc, '$.a', 7); UPDATE t SET doc = JSON_REMOVE(doc, '$.b'), v = 'y' WHERE id = 1",
    )
    .await;
    run(&server, "UPDATE t SET doc = JSON_SET(doc, '$.a', 8), id = id + 10; DELETE FROM t WHERE id = 12").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1 U2 U1 U2 U1 D1 U11 D2 U12 D12");
    // More than waits at once comes out of one event, bit by bit.
    let before = position.clone();
    run(&server, &rows(1_001, 51_000)).await;
    let (mut count, mut middle) = (0, None);
    while count < 50_000 {
        let batch = side.source.next_batch(&position, 1_000).await.unwrap();
        assert!(!batch.changes.is_empty(), "only {count}");
        count += batch.changes.len();
        position = batch.through;
        middle = middle.or((count >= 30_000).then(|| (position.clone(), count)));
    }
    assert_eq!(count, 50_000);
    assert_ne!(before, position);
    // Who begins anew in the middle of it goes on with the next.
    let (middle, count) = middle.unwrap();
    let next = open(&endpoint(&server.url("d"), "t")).await.source.next_batch(&middle, 1).await.unwrap();
    assert_eq!(crate::mysql_binlog::shown(&next.changes), format!("U{}", 1_001 + count));
}

#[tokio::test]
async fn a_key_that_only_the_server_sees_is_a_key() {
    let (table, values) = (
        "CREATE TABLE t (my_row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY, v INT)",
        "VALUES (7), (8)",
    );
    let generated = "SET SESSION sql_generate_invisible_primary_key = ON; CREATE TABLE t (v INT)";
    let server = make(&[], if is_mariadb() { table } else { generated }).await;
    let endpoint = endpoint(&server.url("d"), "t");
    let mut side = open(&endpoint).await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    run(&server, &format!("INSERT INTO t (v) {values}; DELETE FROM t WHERE v = 7")).await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1 U2 D1");
    let record = side
        .target
        .fetch(&[tidelock::record::Key(vec![tidelock::value::Value::Int(2)])])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(record.get("v"), Some(&tidelock::value::Value::Int(8)));
}

/// MySQL's own way wants the password itself at first, which is sealed with the server's key where there is no TLS.
#[tokio::test]
async fn whoever_logs_in_for_the_first_time_is_let_in_with_tls_and_without() {
    let server = make(&[], "CREATE TABLE t (id INT PRIMARY KEY)").await;
    for (id, mode) in [(1, "disabled"), (2, "preferred"), (3, "required")] {
        if mode == "required" && is_mariadb() {
            continue;
        }
        run(&server, &format!("CREATE USER u{id}@'%' IDENTIFIED BY 'it''s: secret'; GRANT ALL ON *.* TO u{id}@'%'"))
            .await;
        let mut endpoint = endpoint(&server.url("d"), "t");
        endpoint.credentials.user = Some(format!("u{id}"));
        endpoint.credentials.password = Some(Secret::new("it's: secret"));
        endpoint.credentials.other.insert("ssl_mode".to_owned(), Secret::new(mode));
        let mut side = open(&endpoint).await;
        side.source.prepare().await.unwrap();
        // The server forgets who was let in: that who reads the log is asked anew.
        run(&server, "FLUSH PRIVILEGES").await;
        let mut position = side.source.head().await.unwrap();
        run(&server, &format!("INSERT INTO t VALUES ({id})")).await;
        assert_eq!(drain(&mut *side.source, &mut position).await, format!("U{id}"), "{mode}");
        endpoint.credentials.password = Some(Secret::new("wrong"));
        let refused =
            tidelock::connector::Connector::describe(&tidelock::connector::mysql::Mysql::default(), &endpoint).await;
        assert_eq!(refused.unwrap_err().code, "mysql.unauthenticated", "{mode}");
    }
}
