//! What goes wrong before anything is read: each message says where, what, and never the password.

use tidelock::config::{Credentials, Secret};
use tidelock::error::{ErrorKind, SyncError};

use crate::postgres::{admin_url, assert_error, describe, endpoint, with_db};

/// `host:port` of the test server.
fn address() -> String {
    let url = admin_url();
    url.rsplit_once('@').unwrap().1.split('/').next().unwrap().to_owned()
}

fn check(error: &SyncError, kind: ErrorKind, code: &str, parts: &[&str]) {
    assert_error(error, code, parts);
    assert_eq!(error.kind, kind, "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_a_wrong_database_and_a_dead_port_are_told_apart() {
    with_db(|db| async move {
        let role = format!("{}_login", db.name);
        db.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await;
        let at = address();
        let url = |user: &str, password: &str, at: &str, database: &str| {
            format!("postgres://{user}:{password}@{at}/{database}")
        };

        // A server that trusts everybody on the loopback address has no wrong passwords.
        if let Err(error) = describe(&endpoint(&url(&role, "hunter2", &at, &db.name), "t")).await {
            if error.code != "postgres.no_table" {
                check(&error, ErrorKind::Unauthenticated, "postgres.unauthenticated", &[&at, &db.name, &role]);
            }
        }
        let error = describe(&endpoint(&url(&role, "right", &at, "no_such_db"), "t")).await.unwrap_err();
        check(&error, ErrorKind::SchemaMismatch, "postgres.no_database", &[&at, "no_such_db"]);
        let error = describe(&endpoint(&url(&role, "hunter2", "127.0.0.1:1", "x"), "t")).await.unwrap_err();
        check(&error, ErrorKind::Unavailable, "postgres.unavailable", &["127.0.0.1:1/x", "refused"]);
        let error = describe(&endpoint(&url(&role, "hunter2", "no-such-host.invalid", "x"), "t")).await.unwrap_err();
        check(&error, ErrorKind::Unavailable, "postgres.unavailable", &["no-such-host.invalid"]);
        db.run(&format!("DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_host_that_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let began = std::time::Instant::now();
    let error = describe(&endpoint(&format!("postgres://u:hunter2@127.0.0.1:{port}/x"), "t")).await.unwrap_err();
    check(&error, ErrorKind::Unavailable, "postgres.unavailable", &["no answer within 10 s"]);
    assert!(began.elapsed().as_secs() < 15);
}

#[tokio::test]
async fn missing_grants_are_named() {
    with_db(|db| async move {
        let role = format!("{}_app", db.name);
        db.run(&format!("CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE {role} LOGIN PASSWORD 'pw'; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role}")).await;
        let mut opening = db.table("t", &["id"]);
        opening.endpoint.credentials = Credentials { user: Some(role.clone()), password: Some(Secret::new("pw")), ..opening.endpoint.credentials };
        let error = opening.try_open().await.err().unwrap();
        check(&error, ErrorKind::PermissionDenied, "postgres.permission_denied", &["reading the table", "permission denied for table t"]);
        db.run(&format!("GRANT SELECT ON t TO {role}")).await;
        let mut side = opening.open().await;
        let error = side.source.prepare().await.unwrap_err();
        let create = format!("GRANT CREATE ON SCHEMA \"public\" TO \"{role}\"");
        let trigger = format!("GRANT TRIGGER ON \"public\".\"t\" TO \"{role}\"");
        check(&error, ErrorKind::PermissionDenied, "postgres.permission_denied", &[&role, &create, &trigger]);
        assert_eq!(db.number("SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%'").await, 0);
        db.run(&format!("{create}; {trigger}")).await;
        side.source.prepare().await.unwrap();
        drop(side);
        db.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_lost_is_unavailable_and_comes_back() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id int PRIMARY KEY)").await;
        let side = db.table("t", &["id"]).open().await;
        side.target.fetch(&[crate::postgres::key(1)]).await.unwrap();
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").await;
        let mut errors = 0;
        while let Err(error) = side.target.fetch(&[crate::postgres::key(1)]).await {
            assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
            errors += 1;
            assert!(errors < 5, "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_prepare_that_cannot_lock_the_table_says_so_and_leaves_nothing() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id int PRIMARY KEY)").await;
        let mut side = db.table("t", &["id"]).open().await;
        let mut other = db.connect().await;
        sqlx::raw_sql("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; INSERT INTO t VALUES (1)")
            .execute(&mut other)
            .await
            .unwrap();
        let error = side.source.prepare().await.unwrap_err();
        check(&error, ErrorKind::Unavailable, "postgres.contention", &["public.t", "lock timeout"]);
        assert_eq!(db.number("SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%'").await, 0);
    })
    .await;
}
