//! Changes from the binary log of MariaDB or MySQL: what is special about it, beside the contract that all captures share. `mysql_binlog_server` has what
//! would disturb others on the same server.

use std::time::Duration;

use tidelock::change::{Change, Op, Position};
use tidelock::config::{CaptureMethod, Credentials, Endpoint, Location, Secret};
use tidelock::connector::mysql::Mysql;
use tidelock::connector::{Connector, OpenOptions, ScanOrder, Side, Source};
use tidelock::error::{ErrorKind, SyncError};
use tidelock::record::{Key, KeyRange, Record};
use tidelock::value::Value;

use crate::harness::proxy::{Proxy, Traffic};
use crate::harness::{Database, is_mariadb, mysql_connection, unique};

/// A table of a server.
pub(crate) fn endpoint(url: &str, table: &str) -> Endpoint {
    Endpoint {
        at: Location::default(),
        system_type: "mysql".to_owned(),
        name: "source".into(),
        collection: table.to_owned(),
        filter: None,
        updated_at: None,
        key: Vec::new(),
        external_id: None,
        bulk_threshold: None,
        timeout: None,
        credentials: Credentials { url: Some(Secret::new(url)), ..Credentials::default() },
    }
}

/// Opens every column of a table, to follow it in the log.
pub(crate) async fn open(endpoint: &Endpoint) -> Side {
    let schema = Mysql::default().describe(endpoint).await.unwrap();
    let options = OpenOptions {
        fields: schema.columns.iter().map(|column| column.name.clone()).collect(),
        correlation: schema.key.clone(),
        consumer: "store:pair".to_owned(),
        capture: CaptureMethod::Binlog,
        updated_at: None,
        looks: false,
        images: false,
        overlap: Duration::ZERO,
    };
    Mysql::default().open(endpoint, &schema, options).await.unwrap()
}

/// A prepared side of table `t`, and the position behind what is there.
async fn start(database: &Database) -> (Side, Position) {
    let mut side = open(&endpoint(url(database), "t")).await;
    side.source.prepare().await.unwrap();
    let head = side.source.head().await.unwrap();
    (side, head)
}

fn url(database: &Database) -> &str {
    let Database::Mysql { url, .. } = database else { unreachable!("made as MySQL") };
    url
}

/// `U1 D2 …`.
pub(crate) fn shown(changes: &[Change]) -> String {
    let one = |change: &Change| format!("{}{}", if change.op == Op::Upsert { "U" } else { "D" }, change.key);
    changes.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Reads all that is there.
pub(crate) async fn drain(source: &mut dyn Source, position: &mut Position) -> String {
    let mut changes = Vec::new();
    loop {
        let batch = source.next_batch(position, 3).await.unwrap();
        let done = batch.changes.is_empty() && !batch.more;
        changes.extend(batch.changes);
        *position = batch.through;
        if done {
            return shown(&changes);
        }
    }
}

async fn fails(source: &mut dyn Source, after: &Position) -> SyncError {
    source.next_batch(after, 100).await.expect_err("a batch")
}

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50), w INT)";

/// The keys that come from the log are those that are read from the table.
async fn keys_agree(database: &Database, columns: &str, key: &str, rows: &[&str]) {
    database.execute(&format!("CREATE TABLE t ({columns}, note JSON, at POINT, PRIMARY KEY ({key}))")).await;
    let (mut side, mut position) = start(database).await;
    for row in rows {
        database.execute(&format!("SET SESSION sql_mode = ''; INSERT INTO t ({key}) VALUES ({row})")).await;
    }
    database.execute("UPDATE t SET note = '{\"a\": 1}', at = POINT(1, 2)").await;
    let mut scan = side.target.scan(ScanOrder::Key(KeyRange::ALL)).await.unwrap();
    let names: Vec<&str> = key.split(", ").collect();
    let stored: Vec<Key> = scan.next(100).await.unwrap().iter().map(|record| record.key(&names).unwrap()).collect();
    assert_eq!(stored.len(), rows.len());
    let mut seen = Vec::new();
    while seen.len() < 2 * rows.len() {
        let batch = side.source.next_batch(&position, 100).await.unwrap();
        assert!(!batch.changes.is_empty(), "only {}", shown(&seen));
        seen.extend(batch.changes);
        position = batch.through;
    }
    for change in &seen {
        assert!(stored.contains(&change.key), "{} is none of {stored:?}", change.key);
    }
    let keys: Vec<Key> = seen.iter().map(|change| change.key.clone()).collect();
    assert!(side.target.fetch(&keys).await.unwrap().iter().all(Option::is_some), "each is found");
    for key in &stored {
        assert_eq!(keys.iter().filter(|seen| *seen == key).count(), 2, "{key}");
    }
}

#[tokio::test]
async fn keys_of_numbers_and_times_are_those_of_the_table() {
    keys_agree(
        &Database::mysql().await,
        "a BOOLEAN, b TINYINT, c SMALLINT UNSIGNED, d MEDIUMINT, e INT UNSIGNED, f BIGINT, g BIGINT UNSIGNED, h BIT(1), i BIT(12), j YEAR, \
         k DECIMAL(30, 10), l DECIMAL(9, 9), m FLOAT, n DOUBLE, o DECIMAL(20, 0)",
        "a, b, c, d, e, f, g, h, i, j, k, l, m, n, o",
        &[
            "0, 0, 0, 0, 0, 0, 0, b'0', 0, 1901, 0, 0, 0, 0, 0",
            "1, -128, 65535, -8388608, 4294967295, -9223372036854775808, 18446744073709551615, b'1', 4095, 2155, \
             -12345678901234567890.0123456789, -0.123456789, 0.1, -1.5e300, -99999999999999999999",
            "7, 127, 1, 8388607, 1, 9223372036854775807, 9223372036854775808, b'1', 1, 0, 99999999999999999999.9999999999, 0.000000001, \
             3.4e38, 5e-324, 100000000",
        ],
    )
    .await;
    keys_agree(
        &Database::mysql().await,
        "a DATE, b TIME, c TIME(3), d TIME(6), e DATETIME, f DATETIME(1), g DATETIME(6), h TIMESTAMP NOT NULL, i TIMESTAMP(4) NOT NULL, \
         j TIMESTAMP(6) NOT NULL",
        "a, b, c, d, e, f, g, h, i, j",
        &[
            "'0000-00-00', '-838:59:59', '-00:00:00.001', '-10:11:12.000001', '0000-00-00', '0000-00-00', '0000-00-00', \
             '0000-00-00', '0000-00-00', '0000-00-00'",
            "'9999-12-31', '838:59:59', '23:59:59.999', '00:00:00.000001', '9999-12-31 23:59:59', '1000-01-01 00:00:00.9', \
             '2024-02-29 12:34:56.789012', '1970-01-02 00:00:01', '2038-01-18 03:14:07.9999', '2024-02-29 12:34:56.000001'",
        ],
    )
    .await;
}

#[tokio::test]
async fn keys_of_texts_and_bytes_are_those_of_the_table() {
    let uuid = if is_mariadb() { "UUID" } else { "CHAR(36)" };
    keys_agree(
        &Database::mysql().await,
        &format!(
            "a CHAR(10), b VARCHAR(100), c VARCHAR(50) CHARACTER SET latin1, d CHAR(5) CHARACTER SET utf16, \
             e VARCHAR(10) CHARACTER SET ucs2, f VARCHAR(5) CHARACTER SET utf32, g ENUM('a', 'it''s', 'ü,x'), h SET('x', 'y', 'z'), \
             i BINARY(4), j VARBINARY(10), k {uuid}, l VARCHAR(10) CHARACTER SET utf16le"
        ),
        "a, b, c, d, e, f, g, h, i, j, k, l",
        &[
            "'', '', '', '', '', '', 'a', '', '', '', '00000000-0000-0000-0000-000000000000', ''",
            "'ä ', 'Ünï😀 ', 'caf\u{e9} \u{20ac}', 'x😀', 'ж', '😀', 'it''s', 'x,z', X'01020000', X'0100ff00', '11f174e9-662f-11f1-8c99-02fc00000001', 'ж😀'",
            "'abc', 'a\\0b', 'plain', 'd', 'e', 'f', 'ü,x', 'x,y,z', X'ffffffff', X'00', 'ffffffff-ffff-4fff-8fff-ffffffffff00', 'l'",
        ],
    )
    .await;
}

#[tokio::test]
async fn columns_come_and_go_and_no_key_is_taken_for_another() {
    let database = Database::mysql().await;
    database.execute("CREATE TABLE t (a INT, id INT PRIMARY KEY, b INT)").await;
    let (mut side, mut position) = start(&database).await;
    database
        .execute(
            "INSERT INTO t VALUES (100, 1, 100); ALTER TABLE t ADD COLUMN c INT; INSERT INTO t VALUES (101, 2, 0, 0)",
        )
        .await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1 U2");
    // Each of these moves the key among columns of its type.
    database.execute("ALTER TABLE t ADD COLUMN z INT FIRST; INSERT INTO t VALUES (7, 102, 3, 0, 0)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U3");
    database.execute("ALTER TABLE t DROP COLUMN a; UPDATE t SET b = 1 WHERE id = 1; ").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1");
    database.execute("ALTER TABLE t MODIFY id BIGINT AFTER b; DELETE FROM t WHERE id = 2").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "D2");
    // Altered while nobody reads: once is followed, several times is said.
    let mut away = position.clone();
    database
        .execute("INSERT INTO t VALUES (1, 1, 20, 1); ALTER TABLE t DROP COLUMN z; INSERT INTO t VALUES (2, 21, 2)")
        .await;
    let mut again = open(&endpoint(url(&database), "t")).await;
    assert_eq!(drain(&mut *again.source, &mut away).await, "U20 U21");
    database.execute("ALTER TABLE t MODIFY id BIGINT FIRST; INSERT INTO t VALUES (30, 1, 1); ALTER TABLE t MODIFY id BIGINT AFTER b").await;
    let mut last = open(&endpoint(url(&database), "t")).await;
    let mut seen = String::new();
    let error = loop {
        match last.source.next_batch(&away, 1).await {
            Ok(batch) if batch.changes.is_empty() && !batch.more => panic!("nothing is said after {seen}"),
            Ok(batch) => {
                seen.push_str(&shown(&batch.changes));
                away = batch.through;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, "source.tracking_lost");
    assert!(error.message.contains("binlog_row_metadata = FULL"), "{error}");
    assert!(seen.is_empty(), "{seen} was taken for a key");
}

#[tokio::test]
async fn what_the_log_does_not_tell_row_by_row_is_said() {
    for (change, code, says) in [
        ("TRUNCATE t", "source.truncated", "truncated"),
        ("RENAME TABLE t TO gone", "source.tracking_lost", "renamed"),
        // MySQL does not know `OR REPLACE`.
        ("DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY)", "source.tracking_lost", "dropped"),
        ("/*M! CREATE OR REPLACE TABLE t (id INT PRIMARY KEY) */", "source.tracking_lost", "made anew"),
        ("ALTER TABLE t CHANGE id nr INT", "source.tracking_lost", "key column"),
        ("SET SESSION binlog_format = STATEMENT; UPDATE t SET w = 5", "source.tracking_lost", "binlog_format"),
        ("DELETE FROM tidelock_binlog", "source.tracking_lost", "taken away"),
    ] {
        if change.starts_with("/*M!") && !is_mariadb() {
            continue;
        }
        let database = Database::mysql().await;
        database.execute(TABLE).await;
        let (mut side, position) = start(&database).await;
        database.execute(&format!("INSERT INTO t VALUES (1, 'a', 1); {change}")).await;
        let batch = side.source.next_batch(&position, 100).await.unwrap();
        assert_eq!(shown(&batch.changes), "U1", "{change}: what came before is delivered");
        for _ in 0..2 {
            let error = fails(&mut *side.source, &batch.through).await;
            assert_eq!(error.code, code, "{change}: {error}");
            assert!(error.message.contains(says), "{change}: {error}");
        }
    }
}

#[tokio::test]
async fn others_tables_and_statements_are_passed_over() {
    let database = Database::mysql().await;
    database.execute(&format!("{TABLE}; CREATE TABLE other (id INT PRIMARY KEY, t INT)")).await;
    let (mut side, mut position) = start(&database).await;
    let other = Database::mysql().await;
    other.execute(&format!("{TABLE}; INSERT INTO t VALUES (9, 'x', 1); DROP TABLE t")).await;
    database
        .execute(
            "SET SESSION binlog_format = STATEMENT; INSERT INTO other VALUES (1, 1); SET SESSION binlog_format = ROW; \
             BEGIN; INSERT INTO other VALUES (2, 2); INSERT INTO t VALUES (1, 'a', 1); SAVEPOINT s; INSERT INTO t VALUES (2, 'b', 2); \
             ROLLBACK TO s; COMMIT; CREATE INDEX by_w ON t (w); ANALYZE TABLE t; CREATE TABLE copy LIKE t; \
             CREATE TABLE another SELECT * FROM t; DROP TABLE other, copy; BEGIN; INSERT INTO t VALUES (3, 'c', 3); ROLLBACK",
        )
        .await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1");
    // An idle reader moves with the log, and a new one goes on from there.
    let before = position.clone();
    other.execute("CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (1)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "");
    assert_ne!(before, position);
    let mut again = open(&endpoint(url(&database), "t")).await;
    database.execute("REPLACE INTO t VALUES (1, 'z', 2)").await;
    assert_eq!(drain(&mut *again.source, &mut position).await, "U1");
}

#[tokio::test]
async fn a_row_that_lacks_columns_is_read_as_long_as_it_has_its_key() {
    let database = Database::mysql().await;
    database.execute(TABLE).await;
    let (mut side, mut position) = start(&database).await;
    for image in ["MINIMAL", "NOBLOB"] {
        database
            .execute(&format!(
                "SET SESSION binlog_row_image = {image}; REPLACE INTO t VALUES (1, 'a', 1); UPDATE t SET w = 5, v = NULL; \
                 UPDATE t SET id = 2; DELETE FROM t"
            ))
            .await;
        assert_eq!(drain(&mut *side.source, &mut position).await, "U1 U1 D1 U2 D2", "{image}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_prepared_comes_when_it_is_decided() {
    let database = Database::mysql().await;
    database.execute(TABLE).await;
    let (mut side, mut position) = start(&database).await;
    let (one, two) = (unique(), unique());
    let prepare = |name: &str, id: u32| {
        format!("XA START '{name}'; INSERT INTO t VALUES ({id}, 'xa', 1); XA END '{name}'; XA PREPARE '{name}'")
    };
    // A session that goes leaves what it prepared.
    database.execute(&prepare(&one, 1)).await;
    database.execute(&prepare(&two, 2)).await;
    database.execute("INSERT INTO t VALUES (3, 'c', 1)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U3");
    // Who begins anew in between still gets what was prepared before.
    let mut again = open(&endpoint(url(&database), "t")).await;
    let mut replayed = position.clone();
    assert_eq!(drain(&mut *again.source, &mut replayed).await, "", "what was delivered is not told again");
    database.execute(&format!("XA COMMIT '{one}'; XA ROLLBACK '{two}'; INSERT INTO t VALUES (4, 'd', 1)")).await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1 U4");
    assert_eq!(drain(&mut *again.source, &mut replayed).await, "U1 U4");
    let mut last = open(&endpoint(url(&database), "t")).await;
    assert_eq!(drain(&mut *last.source, &mut replayed).await, "");
    database.execute("XA START 'x'; INSERT INTO t VALUES (5, 'e', 1); XA END 'x'; XA COMMIT 'x' ONE PHASE").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U5");
}

/// Inserts a row for each of these numbers, in one transaction.
pub(crate) fn rows(first: u32, last: u32) -> String {
    format!(
        "SET SESSION /*M! max_recursive_iterations */ /*!80000 cte_max_recursion_depth */ = 1000000; INSERT INTO t (id, v, w) \
         WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) \
         SELECT n, repeat('x', 50), n FROM numbers ORDER BY n"
    )
}

/// Peak of the memory that this process holds, in kilobytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_transaction_of_200_000_rows_comes_whole_in_bounded_memory() {
    let database = Database::mysql().await;
    database.execute(&format!("{TABLE}; INSERT INTO t VALUES (1, 'a', 1)")).await;
    let (mut side, position) = start(&database).await;
    database.execute(&rows(2, 200_001)).await;
    let before = peak();
    let (mut count, mut last) = (0, position.clone());
    while count < 200_000 {
        let batch = side.source.next_batch(&last, 1_000).await.unwrap();
        assert!(
            !batch.changes.is_empty()
                && batch.changes.iter().zip(2..).all(|(change, id)| change.key == Key(vec![Value::Int(id + count)]))
        );
        count += i64::try_from(batch.changes.len()).unwrap();
        last = batch.through;
        if count == 50_000 {
            // In the middle of it, who begins anew goes on with the next row.
            let mut again = open(&endpoint(url(&database), "t")).await;
            let next = again.source.next_batch(&last, 1).await.unwrap();
            assert_eq!(shown(&next.changes), "U50002");
        }
    }
    assert_eq!(count, 200_000);
    let grown = peak() - before;
    assert!(grown < 60_000, "{grown} kB for 20,000 keys that may wait, and 200,000 times");
    // All of it is asked for the times of records, whether anybody takes changes or not.
    let again = open(&endpoint(url(&database), "t")).await;
    let times = again.target.change_times(&[Key(vec![Value::Int(200_001)]), Key(vec![Value::Int(1)])]).await.unwrap();
    assert!(times[0].is_some() && times[1].is_none(), "{times:?}");
}

#[tokio::test]
async fn a_connection_that_is_ended_is_made_anew() {
    let database = Database::mysql().await;
    database.execute(TABLE).await;
    let (mut side, mut position) = start(&database).await;
    let name = url(&database).rsplit('/').next().unwrap().to_owned();
    database.execute("INSERT INTO t VALUES (1, 'a', 1)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1");
    side.source.wait(Duration::ZERO).await.unwrap();
    // Of the readers of the log it is the one of this test's user.
    let user = format!("u{}", &unique()[..8]);
    let mut admin = mysql_connection(url(&database)).await;
    let grants = format!("CREATE USER {user}@'%' IDENTIFIED BY 'pw'; GRANT ALL ON {name}.* TO {user}@'%'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(grants)).execute(&mut admin).await.unwrap();
    let server = crate::faults::server_of(url(&database));
    let own = format!("mysql://{user}:pw@{server}/{name}");
    let mut side = open(&endpoint(&own, "t")).await;
    // MySQL has to be asked for more before it begins.
    let begun = match side.source.prepare().await {
        Ok(_) => side.source.head().await.map(drop),
        Err(error) => Err(error),
    };
    let error = begun.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::PermissionDenied, "mysql.permission_denied"));
    assert!(error.message.contains("GRANT REPLICATION SLAVE"), "{error}");
    let grant = format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}@'%'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&mut admin).await.unwrap();
    let mut side = open(&endpoint(&own, "t")).await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    database.execute("INSERT INTO t VALUES (2, 'b', 1)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U2");
    let kill = format!(
        "SELECT CAST(ID AS TEXT) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%' AND USER = '{user}'"
    );
    let id = database.value(&kill).await.expect("one reads the log");
    database.execute(&format!("KILL {id}; INSERT INTO t VALUES (3, 'c', 1)")).await;
    let mut seen = String::new();
    let mut errors = 0;
    while seen.is_empty() {
        side.source.wait(Duration::from_secs(5)).await.unwrap();
        match side.source.next_batch(&position, 10).await {
            Ok(batch) => {
                seen.push_str(&shown(&batch.changes));
                position = batch.through;
            }
            Err(error) => {
                assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, "mysql.unavailable"), "{error}");
                errors += 1;
            }
        }
        assert!(errors < 20, "it does not come back");
    }
    assert_eq!(seen, "U3");
    database.execute(&format!("DROP USER {user}@'%'")).await;
}

/// Only the connection of the log is held up: all else goes well, and nothing is reset.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_half_open_is_given_up() {
    let database = Database::mysql().await;
    database.execute(TABLE).await;
    let server = crate::faults::server_of(url(&database));
    let proxy = Proxy::to(server.clone()).await;
    let mut endpoint = endpoint(&url(&database).replace(&server, &format!("127.0.0.1:{}", proxy.port())), "t");
    endpoint.timeout = Some(Duration::from_secs(1));
    // The proxy listens for the statement that asks for the log.
    endpoint.credentials.other.insert("ssl_mode".to_owned(), Secret::new("disabled"));
    let mut side = open(&endpoint).await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    for id in 1..=2 {
        assert_eq!(drain(&mut *side.source, &mut position).await, "");
        proxy.set(Traffic::DeafStream);
        database.execute(&format!("INSERT INTO t VALUES ({id}, 'a', 1)")).await;
        let error = loop {
            side.source.wait(Duration::from_secs(20)).await.unwrap();
            match side.source.next_batch(&position, 10).await {
                Ok(batch) => assert_eq!(shown(&batch.changes), ""),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, "mysql.unavailable"), "{error}");
        proxy.set(Traffic::Passes);
        assert_eq!(drain(&mut *side.source, &mut position).await, format!("U{id}"), "once");
    }
    // At rest it stays open for longer than the server may be silent.
    side.source.wait(Duration::from_secs(2)).await.unwrap();
    database.execute("INSERT INTO t VALUES (3, 'a', 1)").await;
    side.source.wait(Duration::from_secs(2)).await.unwrap();
    assert_eq!(drain(&mut *side.source, &mut position).await, "U3");
}

#[tokio::test]
async fn a_change_is_handed_out_once_it_is_visible() {
    let database = Database::mysql().await;
    database.execute(TABLE).await;
    let (mut side, mut position) = start(&database).await;
    let writes = async {
        let mut connection = mysql_connection(url(&database)).await;
        for id in 1..=300 {
            let sql = format!("REPLACE INTO t VALUES (1, '{id}', {id})");
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    };
    let reads = async {
        let (mut last, mut seen, mut more) = (0, 0, false);
        while last < 300 {
            if !more {
                side.source.wait(Duration::from_secs(5)).await.unwrap();
            }
            let batch = side.source.next_batch(&position, 1).await.unwrap();
            seen += i64::try_from(batch.changes.len()).unwrap();
            (position, more) = (batch.through, batch.more);
            let record = side.target.fetch(&[Key(vec![Value::Int(1)])]).await.unwrap().remove(0);
            let Some(Value::Int(found)) = record.as_ref().and_then(|record: &Record| record.get("w")).cloned() else {
                continue;
            };
            assert!(found >= seen, "change {seen} was handed out when only {found} was to be seen");
            last = seen;
        }
    };
    tokio::join!(writes, reads);
}

#[tokio::test]
async fn keys_that_the_log_cannot_tell_are_refused_with_advice() {
    for column in ["INET6", "VARCHAR(10) CHARACTER SET gbk"].into_iter().skip(usize::from(!is_mariadb())) {
        let database = Database::mysql().await;
        database.execute(&format!("CREATE TABLE t (id {column} PRIMARY KEY)")).await;
        let mut side = open(&endpoint(url(&database), "t")).await;
        let error = side.source.prepare().await.unwrap_err();
        assert_eq!(error.code, "mysql.binlog");
        assert!(error.message.contains("database_triggers"), "{error}");
    }
}
