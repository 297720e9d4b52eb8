//! The binary log of a server of the test's own: purged, begun anew, copied, cut off; restarts and kills; settings of the whole server; TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidelock::change::Position;
use tidelock::config::{CaptureMethod, Secret};
use tidelock::connector::mysql::Mysql;
use tidelock::connector::{Connector, Side};
use tidelock::error::{ErrorKind, Result};

use crate::harness::{is_mariadb, mysql_connection};
use crate::mysql_binlog::{drain, endpoint, open, shown};
use crate::mysql_server::Server;

async fn run(server: &Server, sql: &str) {
    let mut connection = mysql_connection(&server.url("d")).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

async fn make(settings: &[&str], files: &[(&str, String)]) -> Server {
    let server = Server::with(settings, files).await;
    let mut connection = mysql_connection(&server.url("mysql")).await;
    let sql = "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(50))";
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    server
}

async fn side(server: &Server) -> Side {
    open(&endpoint(&server.url("d"), "t")).await
}

async fn start(server: &Server) -> (Side, Position) {
    let mut side = side(server).await;
    side.source.prepare().await.unwrap();
    let head = side.source.head().await.unwrap();
    (side, head)
}

/// What `check --connect` says.
async fn advice(server: &Server) -> Result<Vec<String>> {
    let endpoint = endpoint(&server.url("d"), "t");
    let schema = Mysql::default().describe(&endpoint).await?;
    Mysql::default().advice(&endpoint, &schema, CaptureMethod::Binlog).await
}

/// Reads until it works again, or says what will not pass.
async fn through_a_fault(side: &mut Side, position: &mut Position) -> Result<String> {
    for _ in 0..100 {
        match side.source.next_batch(position, 100).await {
            Ok(batch) => {
                *position = batch.through;
                return Ok(shown(&batch.changes));
            }
            Err(error) if error.kind == ErrorKind::Unavailable => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
    panic!("the server does not come back");
}

#[tokio::test]
async fn a_log_that_is_not_the_one_that_was_read_stops_the_reader() {
    let mut server = make(&["--loose-slave-connections-needed-for-purge=0"], &[]).await;
    let (mut reader, mut position) = start(&server).await;
    // Files that end are followed into the next.
    run(&server, "INSERT INTO t VALUES (1, 'a'); FLUSH BINARY LOGS; INSERT INTO t VALUES (2, 'b'); FLUSH BINARY LOGS")
        .await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U1 U2");
    let old = position.clone();
    // A restart, and a kill in the middle of a transaction.
    server.stop();
    server.start(&[]).await;
    run(&server, "INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(through_a_fault(&mut reader, &mut position).await.unwrap(), "U3");
    let mut open = mysql_connection(&server.url("d")).await;
    sqlx::raw_sql("BEGIN; INSERT INTO t VALUES (40, 'never')").execute(&mut open).await.unwrap();
    run(&server, "INSERT INTO t VALUES (4, 'd')").await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U4");
    server.crash();
    server.start(&[]).await;
    run(&server, "INSERT INTO t VALUES (5, 'e')").await;
    assert_eq!(through_a_fault(&mut reader, &mut position).await.unwrap(), "U5");
    // Purged: what stood there is known from nowhere.
    let copy = position.clone();
    run(&server, "FLUSH BINARY LOGS").await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "");
    let file = server.log_file().await;
    // The server keeps a file until its storage engines do not need it any more.
    let number: u32 = file.rsplit_once('.').unwrap().1.parse().unwrap();
    while server.data().join(format!("binlog.{:06}", number - 1)).exists() {
        run(&server, &format!("PURGE BINARY LOGS TO '{file}'")).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for gone in [&old, &copy] {
        let error = side(&server).await.source.next_batch(gone, 10).await.unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, "source.tracking_lost"), "{error}");
    }
    run(&server, "INSERT INTO t VALUES (6, 'f')").await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U6", "who had read it goes on");
    // Another server, that has this one's data: its files have the same names and lengths.
    server.stop();
    std::fs::remove_file(server.data().join(&file)).unwrap();
    std::fs::remove_file(server.data().join("binlog.index")).unwrap();
    server.start(&["--server-id=8"]).await;
    let reset = if is_mariadb() { "RESET MASTER" } else { "RESET BINARY LOGS AND GTIDS" };
    run(&server, &format!("{reset} TO 1; INSERT INTO t VALUES (7, 'g')")).await;
    run(&server, &format!("{reset} TO {number}; INSERT INTO t VALUES (8, '{}')", "x".repeat(40))).await;
    run(&server, &"REPLACE INTO t VALUES (9, 'y'); ".repeat(100)).await;
    let error = through_a_fault(&mut reader, &mut position).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, "source.tracking_lost"), "{error}");
    // A load begins anew behind it.
    let (mut reader, mut position) = start(&server).await;
    run(&server, &format!("{reset}; INSERT INTO t VALUES (10, 'lost')")).await;
    let error = through_a_fault(&mut reader, &mut position).await.unwrap_err();
    assert_eq!(error.code, "source.tracking_lost", "{error}");
}

#[tokio::test]
async fn columns_that_are_named_are_followed_wherever_they_go_and_packed_events_are_read() {
    let mut settings = vec!["--binlog-row-metadata=FULL"];
    if is_mariadb() {
        settings.extend(["--log-bin-compress=ON", "--log-bin-compress-min-len=10"]);
    } else {
        settings.extend(["--binlog-transaction-compression=ON", "--binlog-row-value-options=PARTIAL_JSON"]);
    }
    let server = make(&settings, &[]).await;
    run(&server, "ALTER TABLE t ADD COLUMN a INT FIRST").await;
    let (mut reader, mut position) = start(&server).await;
    let long = "x".repeat(50);
    run(&server, &format!("INSERT INTO t VALUES (7, 1, '{long}'); ALTER TABLE t MODIFY a INT AFTER id; INSERT INTO t VALUES (2, 7, '{long}')")).await;
    run(
        &server,
        &format!(
            "ALTER TABLE t MODIFY a INT FIRST; UPDATE t SET id = id + 10, v = '{long}y'; DELETE FROM t WHERE id = 12"
        ),
    )
    .await;
    assert_eq!(drain(&mut *reader.source, &mut position).await, "U1 U2 D1 U11 D2 U12 D12");
    run(&server, "ALTER TABLE t CHANGE id nr INT; INSERT INTO t (nr) VALUES (3)").await;
    let error = reader.source.next_batch(&position, 10).await.unwrap_err();
    assert!(error.code == "source.tracking_lost" && error.message.contains("key column"), "{error}");
}

#[tokio::test]
async fn what_the_server_has_to_be_like_is_said() {
    let server = make(&["--binlog-ignore-db=left_out"], &[]).await;
    for (set, says) in [
        ("SET GLOBAL binlog_format = MIXED", "binlog_format has to be ROW, and it is MIXED"),
        (
            "SET GLOBAL binlog_format = ROW; SET GLOBAL binlog_row_image = MINIMAL; ALTER TABLE t DROP PRIMARY KEY, ADD UNIQUE KEY (id), MODIFY id INT NOT NULL",
            "binlog_row_image is MINIMAL",
        ),
    ] {
        run(&server, set).await;
        let prepared = side(&server).await.source.prepare().await.unwrap_err();
        for error in [prepared, advice(&server).await.unwrap_err()] {
            assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, "mysql.binlog"));
            assert!(error.message.contains(says) && error.message.contains("database_triggers"), "{error}");
        }
    }
    run(&server, "SET GLOBAL binlog_row_image = FULL; SET GLOBAL binlog_expire_logs_seconds = 7200").await;
    let said = advice(&server).await.unwrap().join("; ");
    assert!(said.contains("binlog_row_metadata = FULL") && said.contains("2.0 hours"), "{said}");
    run(&server, "CREATE DATABASE left_out; CREATE TABLE left_out.t (id INT PRIMARY KEY)").await;
    let mut other = open(&endpoint(&server.url("left_out"), "t")).await;
    let error = other.source.prepare().await.unwrap_err();
    assert!(error.message.contains("binlog_ignore_db"), "{error}");
    drop(server);
    let server = make(&["--skip-log-bin"], &[]).await;
    let error = side(&server).await.source.prepare().await.unwrap_err();
    assert!(error.code == "mysql.binlog" && error.message.contains("log_bin"), "{error}");
}

/// Also where the log-in has to be secret.
#[tokio::test]
async fn the_log_comes_encrypted_where_that_is_asked_for() {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let files = [("ca.pem", issuer.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())];
    let settings = ["--ssl-ca=FOLDER/ca.pem", "--ssl-cert=FOLDER/cert.pem", "--ssl-key=FOLDER/key.pem"];
    let server = make(&settings, &files).await;
    run(&server, "CREATE USER safe@'%' IDENTIFIED BY 'it''s: secret' REQUIRE SSL; GRANT ALL ON *.* TO safe@'%'").await;
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, issuer.pem()).unwrap();
    let encrypted = |mode: &str| {
        let mut endpoint = endpoint(&server.url("d"), "t");
        let credentials = &mut endpoint.credentials;
        credentials.host = Some("localhost".to_owned());
        credentials.user = Some("safe".to_owned());
        credentials.password = Some(Secret::new("it's: secret"));
        credentials.other.insert("ssl_mode".to_owned(), Secret::new(mode));
        credentials.other.insert("ssl_ca".to_owned(), Secret::new(authority.display().to_string()));
        endpoint
    };
    for (id, mode) in [(1, "preferred"), (2, "required"), (3, "verify_ca"), (4, "verify_identity")] {
        let mut side = open(&encrypted(mode)).await;
        side.source.prepare().await.unwrap();
        let mut position = side.source.head().await.unwrap();
        run(&server, &format!("INSERT INTO t VALUES ({id}, 'a')")).await;
        assert_eq!(drain(&mut *side.source, &mut position).await, format!("U{id}"), "{mode}");
    }
}
