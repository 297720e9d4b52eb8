//! The connection that PostgreSQL's log comes over: half-open in either direction, encrypted, refused; and a pair that has nothing to read.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tidelock::config::Secret;
use tidelock::error::ErrorKind;

use crate::cluster::Cluster;
use crate::faults::server_of;
use crate::harness::proxy::{Proxy, Traffic};
use crate::postgres::{Db, Opening, drain, endpoint, shown, with_db};
use crate::scenarios::{Kind, Setup};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// Only this connection is held up, in one direction: all else goes well, and nothing is reset.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_half_open_is_given_up() {
    with_db(async |db| {
        db.run(TABLE).await;
        let server = server_of(&db.url);
        let proxy = Proxy::to(server.clone()).await;
        let mut opening = db.table("t", &["id", "v"]).logical();
        opening.endpoint = endpoint(&db.url.replace(&server, &format!("127.0.0.1:{}", proxy.port())), "t");
        opening.endpoint.timeout = Some(Duration::from_secs(1));
        let mut side = opening.open().await;
        side.source.prepare().await.unwrap();
        let mut position = side.source.head().await.unwrap();
        for (id, held) in [(1, Traffic::DeafStream), (2, Traffic::MuteStream), (3, Traffic::DeafStream)] {
            position = drain(&mut *side.source, &position).await.1;
            proxy.set(held);
            db.run(&format!("INSERT INTO t VALUES ({id}, 'a')")).await;
            let mut seen = Vec::new();
            let error = loop {
                side.source.wait(Duration::from_secs(20)).await.unwrap();
                match side.source.next_batch(&position, 10).await {
                    Ok(batch) => {
                        seen.extend(batch.changes);
                        position = batch.through;
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, "postgres.unavailable"), "{error}");
            assert_eq!(shown(&seen), if held == Traffic::DeafStream { String::new() } else { format!("U{id}") });
            proxy.set(Traffic::Passes);
            let (rest, through) = drain(&mut *side.source, &position).await;
            seen.extend(rest);
            assert_eq!(shown(&seen), format!("U{id}"), "once");
            side.source.acknowledge(&through).await.unwrap();
            position = through;
        }
    })
    .await;
}

/// A server that shows a certificate for `localhost`, lets in `app` only where that is encrypted, and its authority.
async fn encrypting() -> (Cluster, Db, String) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &authority).unwrap();
    let rules = "host all tidelock 127.0.0.1/32 trust\nhostssl all app 127.0.0.1/32 scram-sha-256\n";
    let files =
        [("pg_hba.conf", rules.to_owned()), ("server.crt", certificate.pem()), ("server.key", key.serialize_pem())];
    let cluster = Cluster::with(&["ssl=on"], &files).await;
    let db = Db { name: "postgres".to_owned(), url: cluster.url() };
    db.run(&format!(
        "CREATE ROLE app LOGIN REPLICATION PASSWORD 'an, app'; GRANT CREATE ON DATABASE postgres TO app; {TABLE}; ALTER TABLE t OWNER TO app"
    ))
    .await;
    (cluster, db, authority.pem())
}

#[tokio::test]
async fn a_stream_is_as_encrypted_as_the_other_connections() {
    let (cluster, db, authority) = encrypting().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("ca.pem").display().to_string();
    std::fs::write(&root, authority).unwrap();
    let opening = |host: &str, password: &str, mode: &str| -> Opening {
        let mut opening = db.table("t", &["id", "v"]).logical();
        opening.endpoint = endpoint(&format!("postgres://app@{host}:{}/postgres", cluster.port()), "t");
        let credentials = &mut opening.endpoint.credentials;
        credentials.password = Some(Secret::new(password));
        credentials.other.insert("sslmode".to_owned(), Secret::new(mode));
        credentials.other.insert("sslrootcert".to_owned(), Secret::new(&root));
        opening
    };
    for (id, (host, mode)) in
        [("127.0.0.1", "require"), ("127.0.0.1", "verify-ca"), ("localhost", "verify-full")].into_iter().enumerate()
    {
        let mut side = opening(host, "an, app", mode).open().await;
        side.source.prepare().await.unwrap();
        let position = side.source.head().await.unwrap();
        db.run(&format!("INSERT INTO t VALUES ({id}, 'a')")).await;
        let (changes, _) = drain(&mut *side.source, &position).await;
        assert_eq!(shown(&changes), format!("U{id}"), "{mode}");
        let encrypted = "SELECT count(*) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl";
        assert_eq!(db.number(encrypted).await, 1, "{mode}");
    }
    for (host, password, mode) in [
        ("127.0.0.1", "an, app", "verify-full"),
        ("localhost", "an, app", "disable"),
        ("localhost", "another", "require"),
    ] {
        let error = opening(host, password, mode).try_open().await.err().expect(mode);
        assert!(!error.to_string().contains(password), "{error}");
    }
}

/// The table is quiet and the database is not: the slot moves, so that the server may forget what others wrote.
#[tokio::test]
async fn a_quiet_pair_lets_the_log_go() {
    let setup = Setup::new((Kind::PostgresLog, Kind::Sqlite)).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "one_way"}));
    setup.source.execute("CREATE TABLE other (x TEXT); INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "Ada").await;
    for _ in 0..2 {
        setup.source.execute("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000)").await;
        let end = setup.source.value("SELECT pg_current_wal_lsn()::text").await.unwrap();
        let slot = "FROM pg_replication_slots WHERE database = current_database()";
        setup.source.await_value(&format!("SELECT (confirmed_flush_lsn >= '{end}')::text {slot}"), "true").await;
    }
    assert_eq!(service.stop(), 0, "{}", service.log());
}
