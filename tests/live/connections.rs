//! How servers are reached: Unix sockets, URLs with odd characters, users with few connections, and sessions with a limit to their statements.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;

use crate::harness::{Database, mysql_connection, unique};
use crate::scenarios::{Kind, Setup};

const SOURCE: &str =
    "CREATE TABLE a (id INTEGER PRIMARY KEY, name VARCHAR(40)); INSERT INTO a VALUES (1, 'Ada'), (2, 'Bob')";

/// User, password, and name of a database, from its URL.
fn parts(database: &Database) -> [String; 3] {
    let (Database::Postgres { url, .. } | Database::Mysql { url, .. }) = database else { panic!("a file") };
    let (login, place) = url.split_once("://").unwrap().1.split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    [user, password, place.split_once('/').unwrap().1].map(str::to_owned)
}

fn configure(setup: &Setup, source: Value, target: Value, more: Value) {
    let mut config = json!({"connection_name": "p", "sync_type": "bidirectional", "source": source, "target": target});
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    setup.tidelock.configure(&config);
}

#[tokio::test]
async fn servers_are_reached_over_their_sockets() {
    let setup = Setup::new((Kind::Postgres, Kind::Mysql)).await;
    setup.source.execute(SOURCE).await;
    setup.target.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, name VARCHAR(40))").await;
    let folder = setup.source.value("SELECT current_setting('unix_socket_directories')").await.unwrap();
    let port: u16 = setup.source.value("SELECT current_setting('port')").await.unwrap().parse().unwrap();
    let socket = setup.target.value("SELECT @@socket").await.unwrap();
    let [user, password, database] = parts(&setup.target);
    let target = json!({"type": "mysql", "name": "erp", "table": "b",
        "credentials": {"socket": socket, "database": database, "user": user, "password": password}});
    let [user, password, database] = parts(&setup.source);
    let credentials = json!({"host": folder, "port": port, "database": database, "user": user, "password": password});
    let by_parts = json!({"type": "postgres", "name": "crm", "table": "a", "credentials": credentials});
    configure(&setup, by_parts.clone(), target.clone(), json!({}));
    setup.tidelock.once(0);
    assert_eq!(setup.target.value("SELECT CAST(count(*) AS TEXT) FROM b").await.as_deref(), Some("2"));
    let url = format!("postgres://{user}:{password}@localhost:{port}/{database}?host={}", folder.replace('/', "%2F"));
    setup.source.execute("UPDATE a SET name = 'Ada L.' WHERE id = 1").await;
    configure(&setup, json!({"type": "postgres", "name": "crm", "table": "a", "url": url}), target.clone(), json!({}));
    setup.tidelock.once(0);
    assert_eq!(setup.target.value("SELECT name FROM b WHERE id = 1").await.as_deref(), Some("Ada L."));

    // The log is read over a connection of its own kind.
    let other = Setup::new((Kind::PostgresLog, Kind::Sqlite)).await;
    other.source.execute(SOURCE).await;
    other.target.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, name VARCHAR(40))").await;
    let mut by_parts = by_parts;
    by_parts["credentials"]["database"] = parts(&other.source)[2].clone().into();
    configure(&other, by_parts, other.target.endpoint("erp", "b"), json!({}));
    other.tidelock.once(0);
    other.source.execute("UPDATE a SET name = 'Ada L.' WHERE id = 1").await;
    other.tidelock.once(0);
    assert_eq!(other.target.value("SELECT name FROM b WHERE id = 1").await.as_deref(), Some("Ada L."));
}

/// What stands in a URL for letters that mean something there.
fn coded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Awaits a statement that waits for a row. The server takes a new look at its locks only where nobody has looked for 0.1 s.
async fn waiting_in_innodb(database: &Database) {
    let waits = "SELECT CAST(count(*) AS TEXT) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
    for _ in 0..100 {
        if database.value(waits).await.as_deref() != Some("0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("nobody waits");
}

/// Users whom their servers allow few connections and little time, with names and passwords that a URL has to spell otherwise.
#[tokio::test]
async fn users_of_few_means_are_enough() {
    let setup = Setup::new((Kind::Postgres, Kind::Mysql)).await;
    setup.source.execute(SOURCE).await;
    setup.target.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, name VARCHAR(40))").await;
    let (user, password) = (format!("o'dd {}", &unique()[..20]), "p@ss/w:rd%?#ü");
    let [.., source] = parts(&setup.source);
    let [.., target] = parts(&setup.target);
    setup
        .source
        .execute(&format!(
            "CREATE ROLE \"{user}\" LOGIN PASSWORD '{password}' CONNECTION LIMIT 12; ALTER ROLE \"{user}\" SET statement_timeout = '150ms'; \
             ALTER ROLE \"{user}\" SET lock_timeout = 0; GRANT ALL ON DATABASE {source} TO \"{user}\"; ALTER TABLE a OWNER TO \"{user}\"; \
             GRANT ALL ON SCHEMA public TO \"{user}\""
        ))
        .await;
    let account = format!("'{}'@'%'", user.replace('\'', "''"));
    setup
        .target
        .execute(&format!(
            "CREATE USER {account} IDENTIFIED BY '{password}' WITH MAX_USER_CONNECTIONS 12 /*M! MAX_STATEMENT_TIME 0.15 */; GRANT ALL ON {target}.* TO {account}; \
             GRANT SUPER ON *.* TO {account}"
        ))
        .await;
    let url = |database: &Database, name: &str| {
        let (Database::Postgres { url, .. } | Database::Mysql { url, .. }) = database else { panic!("a file") };
        let (scheme, rest) = url.split_once("://").unwrap();
        let server = rest.split_once('@').unwrap().1.split_once('/').unwrap().0;
        format!("{scheme}://{}:{}@{server}/{name}", coded(&user), coded(password))
    };
    let source = json!({"type": "postgres", "name": "crm", "table": "a", "url": url(&setup.source, &source)});
    let target = json!({"type": "mysql", "name": "erp", "table": "b", "url": url(&setup.target, &target)});
    configure(
        &setup,
        source,
        target,
        json!({"performance_settings": {"parallelism": 4},
        "conflict_resolution": {"strategy": "system_priority", "priority_system": "crm"}}),
    );

    setup.tidelock.once(0);

    // Both rows are held for longer than a statement of theirs may take; ours wait.
    let (Database::Postgres { url: source, .. }, Database::Mysql { url: target, .. }) = (&setup.source, &setup.target)
    else {
        panic!("other systems")
    };
    let mut holder = mysql_connection(target).await;
    sqlx::raw_sql("BEGIN; SELECT * FROM b FOR UPDATE").execute(&mut holder).await.unwrap();
    setup.source.execute("UPDATE a SET name = 'Ada L.' WHERE id = 1").await;
    let running = setup.tidelock.command(&["run", "sync.json", "--once", "--json"]).spawn().unwrap();
    waiting_in_innodb(&setup.target).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    assert!(running.wait_with_output().unwrap().status.success());
    assert_eq!(setup.target.value("SELECT name FROM b WHERE id = 1").await.as_deref(), Some("Ada L."));

    let mut holder = sqlx::PgConnection::connect(source).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM a FOR UPDATE").execute(&mut holder).await.unwrap();
    setup.target.execute("UPDATE b SET name = 'Bo' WHERE id = 2").await;
    let running = setup.tidelock.command(&["run", "sync.json", "--once", "--json"]).spawn().unwrap();
    let waits = "SELECT CAST(count(*) AS TEXT) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'tidelock' \
                 AND datname = current_database()";
    setup.source.await_value(waits, "1").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    assert!(running.wait_with_output().unwrap().status.success());
    assert_eq!(setup.source.value("SELECT name FROM a WHERE id = 2").await.as_deref(), Some("Bo"));

    setup.target.execute(&format!("DROP USER {account}")).await;
    setup
        .source
        .execute(&format!(
            "REASSIGN OWNED BY \"{user}\" TO CURRENT_USER; DROP OWNED BY \"{user}\"; DROP ROLE \"{user}\""
        ))
        .await;
}
