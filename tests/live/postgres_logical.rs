//! Changes from PostgreSQL's log: what is special about it, beside the contract that all captures share.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};
use tidelock::change::{Change, Op, Position};
use tidelock::connector::{Side, Source, Write};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use crate::postgres::{Db, assert_error, drain, key, shown, text, with_db};

const SLOTS: &str = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()";
const READER: &str = "SELECT active_pid FROM pg_replication_slots WHERE database = current_database()";
const RESTART: &str = "SELECT restart_lsn::text FROM pg_replication_slots WHERE database = current_database()";
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// A prepared side, and the position behind what is there.
async fn start(db: &Db) -> (Side, Position) {
    let mut side = db.table("t", &["id", "v"]).logical().open().await;
    side.source.prepare().await.unwrap();
    let head = side.source.head().await.unwrap();
    (side, head)
}

/// The code of what the next batch fails with.
async fn fails(source: &mut dyn Source, after: &Position) -> &'static str {
    source.next_batch(after, 100).await.expect_err("a batch").code
}

#[tokio::test]
async fn an_idle_slot_lets_go_of_what_others_write() {
    with_db(async |db| {
        db.run(&format!("{TABLE}; CREATE TABLE other (x text)")).await;
        let (mut side, mut position) = start(&db).await;
        db.run("INSERT INTO t VALUES (1, 'a')").await;
        let (changes, through) = drain(&mut *side.source, &position).await;
        assert_eq!(shown(&changes), "U1");
        side.source.acknowledge(&through).await.unwrap();
        position = through;
        let held = "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots WHERE database = current_database()";
        let mut last = db.text(RESTART).await;
        for _ in 0..3 {
            db.run("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 5000); CHECKPOINT").await;
            assert!(db.number(held).await > 4_000_000, "nothing is let go before it is acknowledged");
            let batch = side.source.next_batch(&position, 10).await.unwrap();
            assert!(batch.changes.is_empty());
            assert_ne!(batch.through, position, "the position moves with the log");
            position = batch.through;
            side.source.acknowledge(&position).await.unwrap();
            await_number(&db, held, |held| held < 1_000_000).await;
            // The server moves it when it next writes down which transactions run, which a checkpoint does.
            let before = last.clone();
            let moving = async {
                while db.text(RESTART).await == before {
                    db.run("INSERT INTO other VALUES ('y'); CHECKPOINT").await;
                    let batch = side.source.next_batch(&position, 10).await.unwrap();
                    position = batch.through;
                    side.source.acknowledge(&position).await.unwrap();
                }
            };
            tokio::time::timeout(Duration::from_secs(30), moving).await.expect("the log is let go");
            last = db.text(RESTART).await;
        }
    })
    .await;
}

async fn await_number(db: &Db, sql: &str, enough: impl Fn(i64) -> bool) {
    let waiting = async {
        while !enough(db.number(sql).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(sql);
}

#[tokio::test]
async fn a_slot_that_is_not_the_one_that_was_read_stops_the_reader() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, position) = start(&db).await;
        let name = db
            .text("SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()")
            .await
            .unwrap();
        assert!(name.len() <= 63 && name.starts_with("tidelock_t_"), "{name}");
        let first = side.source.prepare().await.unwrap();
        db.run(&format!("SELECT pg_drop_replication_slot('{name}')")).await;
        db.run("INSERT INTO t VALUES (1, 'missed')").await;
        assert_eq!(fails(&mut *side.source, &position).await, "source.tracking_lost");
        // Somebody makes one of the same name: what was missed is not to be had from it.
        db.run(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
        assert_eq!(fails(&mut *side.source, &position).await, "source.tracking_lost");
        db.run(&format!("SELECT pg_drop_replication_slot('{name}')")).await;
        assert_ne!(side.source.prepare().await.unwrap(), first);
        side.source.remove().await.unwrap();
        assert_eq!(db.number(SLOTS).await, 0);
        assert_eq!(db.number("SELECT count(*) FROM pg_publication").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_was_taken_out_of_the_publication_is_another_stream() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, _) = start(&db).await;
        let first = side.source.prepare().await.unwrap();
        db.run(&format!("DROP TABLE t; {TABLE}")).await;
        let mut again = db.table("t", &["id", "v"]).logical().open().await;
        let second = again.source.prepare().await.unwrap();
        assert_ne!(second, first);
        assert_eq!(again.source.prepare().await.unwrap(), second, "nothing has happened");
        let name = db.text("SELECT pubname::text FROM pg_publication").await.unwrap();
        for altered in ["SET TABLE t WHERE (id > 5)", "SET TABLE t (id)", "SET (publish = 'insert')"] {
            let before = again.source.prepare().await.unwrap();
            db.run(&format!("ALTER PUBLICATION {name} {altered}")).await;
            assert_ne!(again.source.prepare().await.unwrap(), before, "{altered}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_truncated_table_is_said_after_what_came_before() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, position) = start(&db).await;
        db.run("INSERT INTO t VALUES (1, 'a'); TRUNCATE t; INSERT INTO t VALUES (2, 'b')").await;
        let batch = side.source.next_batch(&position, 100).await.unwrap();
        assert_eq!(shown(&batch.changes), "U1");
        for _ in 0..2 {
            assert_eq!(fails(&mut *side.source, &batch.through).await, "source.truncated");
        }
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (3, 'c')").await;
        assert_eq!(shown(&drain(&mut *side.source, &head).await.0), "U3", "who loads anew goes on behind it");
    })
    .await;
}

#[tokio::test]
async fn rows_are_known_by_their_replica_identity() {
    with_db(async |db| {
        db.run("CREATE TABLE t (id int NOT NULL, v text); CREATE UNIQUE INDEX by_id ON t (id)").await;
        let mut side = db.table("t", &["id", "v"]).logical().open().await;
        let error = side.source.prepare().await.unwrap_err();
        assert_error(&error, "postgres.logical_replication", &["REPLICA IDENTITY USING INDEX", "(id)"]);
        assert_eq!(db.number("SELECT count(*) FROM pg_publication").await, 0, "or the application's updates would fail");
        for identity in ["USING INDEX by_id", "FULL"] {
            db.run(&format!("TRUNCATE t; ALTER TABLE t REPLICA IDENTITY {identity}")).await;
            let (mut side, position) = start(&db).await;
            // Long values that are not written again do not come along.
            db.run("INSERT INTO t SELECT n, string_agg(md5(n::text || m), '') FROM generate_series(1, 3) n, generate_series(1, 400) m GROUP BY n ORDER BY n").await;
            db.run("UPDATE t SET id = id + 10 WHERE id > 1; UPDATE t SET v = 'short' WHERE id = 1; DELETE FROM t WHERE id = 13").await;
            let (changes, _) = drain(&mut *side.source, &position).await;
            assert_eq!(shown(&changes), "U1 U2 U3 D2 U12 D3 U13 U1 D13", "{identity}");
        }
    })
    .await;
}

#[tokio::test]
async fn keys_read_as_queries_read_them() {
    with_db(async |db| {
        db.run(
            "CREATE TYPE mood AS ENUM ('glad', 'so so'); CREATE DOMAIN code AS varchar(9); \
             CREATE TABLE t (a char(5), b timestamptz, c numeric(12,3), d bytea, e uuid, f float8, g date, h mood, i code, j time, k bool, l interval, \
               m inet, n bigint, o timestamp, v text, PRIMARY KEY (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o))",
        )
        .await;
        let fields: Vec<String> = ('a'..='o').map(String::from).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).chain(["v"]).collect();
        let mut side = db.table("t", &fields).logical().open().await;
        side.source.prepare().await.unwrap();
        let position = side.source.head().await.unwrap();
        db.run(
            "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape'; \
             INSERT INTO t VALUES ('ab', '2024-03-31 02:30:00.123456+01', 1.500, '\\x00ff5c', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 0.1, \
               '0044-03-15 BC', 'so so', 'x''y', '23:59:59.5', true, '1 day 02:03:04', '10.1.2.3', 9223372036854775807, 'infinity', 'found')",
        )
        .await;
        let (changes, _) = drain(&mut *side.source, &position).await;
        let found = side.target.fetch(&[changes[0].key.clone()]).await.unwrap();
        let record = found[0].as_ref().expect("the key of the stream finds its record");
        assert_eq!(record.get("v"), Some(&text("found")));
        let names: Vec<String> = ('a'..='o').map(String::from).collect();
        assert_eq!(record.key(&names).as_ref(), Some(&changes[0].key));
        db.run("DELETE FROM t").await;
        let (deleted, _) = drain(&mut *side.source, &position).await;
        assert_eq!((deleted[1].op, &deleted[1].key), (Op::Delete, &changes[0].key));
    })
    .await;
}

#[tokio::test]
async fn columns_come_and_go() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, position) = start(&db).await;
        db.run("INSERT INTO t VALUES (1, 'a')").await;
        db.run("ALTER TABLE t ADD COLUMN more int DEFAULT 7; UPDATE t SET more = 8").await;
        db.run("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v text; DELETE FROM t; INSERT INTO t VALUES (2)")
            .await;
        let (changes, through) = drain(&mut *side.source, &position).await;
        assert_eq!(shown(&changes), "U1 U1 D1 U2");
        db.run("ALTER TABLE t RENAME COLUMN id TO nr; INSERT INTO t VALUES (3)").await;
        assert_eq!(fails(&mut *side.source, &through).await, "source.tracking_lost");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_larger_than_the_buffer_comes_whole_and_holds_up_no_question() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, mut position) = start(&db).await;
        db.run("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 70000) n").await;
        db.run("UPDATE t SET v = 'late' WHERE id = 70000").await;
        // Nothing was taken yet, and far more than may wait: the times are known all the same, and nothing is left out for that.
        let times = side.target.change_times(&[key(1), key(70_000), key(70_001)]).await.unwrap();
        assert!(times[0].is_some() && times[0] < times[1] && times[2].is_none(), "{times:?}");
        let mut ids = Vec::new();
        while ids.len() < 70_001 {
            let batch = side.source.next_batch(&position, 3000).await.unwrap();
            assert!(!batch.changes.is_empty(), "after {}", ids.len());
            ids.extend(batch.changes.into_iter().map(|change| change.key));
            position = batch.through;
            side.source.acknowledge(&position).await.unwrap();
        }
        let expected: Vec<Key> = (1..=70_000).chain([70_000]).map(key).collect();
        assert!(ids == expected, "in order, each once");
        assert_eq!(side.target.change_times(&[key(1)]).await.unwrap(), [None], "acknowledged");
    })
    .await;
}

#[tokio::test]
async fn what_a_trigger_writes_beside_us_is_seen() {
    with_db(async |db| {
        db.run(&format!(
            "{TABLE}; INSERT INTO t VALUES (100, 'old'); \
             CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN UPDATE t SET v = 'by trigger' WHERE id = 100; RETURN NULL; END $$; \
             CREATE TRIGGER follow AFTER INSERT ON t FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION follow()"
        ))
        .await;
        let (mut side, position) = start(&db).await;
        let record = |id| Record::of([("id", Value::Int(id)), ("v", text("ours"))]);
        let create = |id| Write::Create { record: record(id) };
        side.target.write(&[create(1), Write::Delete { key: key(7), guard: None }]).await.unwrap();
        side.target.write(&[create(2)]).await.unwrap();
        side.target.upsert(&[record(3)]).await.unwrap();
        // A delete of what is not there is no row, and must not stand for one that a trigger wrote.
        side.target.write(&[Write::Delete { key: key(9), guard: None }, create(4)]).await.unwrap();
        db.run("INSERT INTO t VALUES (5, 'user')").await;
        let (changes, _) = drain(&mut *side.source, &position).await;
        assert_eq!(shown(&changes), "U2 U100 U5");
        let times = side.target.change_times(&[key(1), key(100), key(5)]).await.unwrap();
        assert_eq!(times.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    })
    .await;
}

#[tokio::test]
async fn partitions_are_one_table() {
    with_db(async |db| {
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); \
             CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20)",
        )
        .await;
        let (mut side, position) = start(&db).await;
        db.run("INSERT INTO t VALUES (1, 'a'), (11, 'b'); UPDATE t SET id = 12 WHERE id = 1; UPDATE low SET v = 'c'; DELETE FROM high WHERE id = 11").await;
        let (changes, _) = drain(&mut *side.source, &position).await;
        assert_eq!(shown(&changes), "U1 U11 D1 U12 D11");
    })
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_said_and_nothing_is_lost() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, mut position) = start(&db).await;
        for round in 1..=3 {
            db.run(&format!("INSERT INTO t VALUES ({round}, 'a')")).await;
            let (changes, through) = drain(&mut *side.source, &position).await;
            assert_eq!(shown(&changes), format!("U{round}"));
            side.source.acknowledge(&through).await.unwrap();
            position = through;
            db.run(&format!("SELECT pg_terminate_backend(({READER}))")).await;
            side.source.wait(Duration::from_secs(20)).await.unwrap();
            let error = side.source.next_batch(&position, 10).await.unwrap_err();
            assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, "postgres.unavailable"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn commits_that_do_not_wait_for_the_disk_are_seen_at_once() {
    with_db(async |db| {
        db.run(TABLE).await;
        let (mut side, mut position) = start(&db).await;
        let mut user = db.connect().await;
        sqlx::raw_sql("SET synchronous_commit = off").execute(&mut user).await.unwrap();
        for id in 1..=5 {
            let insert = format!("INSERT INTO t VALUES ({id}, 'a')");
            sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut user).await.unwrap();
            let batch = side.source.next_batch(&position, 10).await.unwrap();
            assert_eq!(shown(&batch.changes), format!("U{id}"));
            position = batch.through;
        }
        user.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn missing_rights_are_named() {
    with_db(async |db| {
        let role = format!("{}_plain", db.name);
        db.run(&format!("{TABLE}; CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT ALL ON t TO {role}")).await;
        let mut opening = db.table("t", &["id", "v"]).logical();
        opening.endpoint.credentials.user = Some(role.clone());
        opening.endpoint.credentials.password = Some(tidelock::config::Secret::new("p"));
        let error = opening.open().await.source.prepare().await.unwrap_err();
        let (create, replicate) =
            (format!("GRANT CREATE ON DATABASE \"{}\"", db.name), format!("ALTER ROLE \"{role}\" REPLICATION"));
        assert_error(&error, "postgres.permission_denied", &[&create, &replicate, "OWNER TO"]);
        db.run(&format!(
            "ALTER ROLE {role} REPLICATION; GRANT CREATE ON DATABASE {} TO {role}; ALTER TABLE t OWNER TO {role}",
            db.name
        ))
        .await;
        let mut side = opening.open().await;
        side.source.prepare().await.unwrap();
        let position = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (1, 'a')").await;
        assert_eq!(shown(&drain(&mut *side.source, &position).await.0), "U1", "no superuser is needed to read");
        side.source.remove().await.unwrap();
        db.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn who_changes_the_method_leaves_nothing_behind() {
    with_db(async |db| {
        db.run(TABLE).await;
        let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tidelock%'";
        for _ in 0..2 {
            db.table("t", &["id", "v"]).open().await.source.prepare().await.unwrap();
            assert_eq!((db.number(triggers).await, db.number(SLOTS).await), (3, 0));
            start(&db).await;
            assert_eq!((db.number(triggers).await, db.number(SLOTS).await), (0, 1));
        }
        db.table("t", &["id", "v"]).polling("v", Duration::ZERO).try_open().await.err().expect("v is no time");
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_ends_late_is_not_behind_the_head() {
    with_db(async |db| {
        db.run(TABLE).await;
        let mut late = db.connect().await;
        let (mut side, _) = start(&db).await;
        sqlx::raw_sql("BEGIN; INSERT INTO t VALUES (1, 'late')").execute(&mut late).await.unwrap();
        db.run("INSERT INTO t VALUES (2, 'early')").await;
        let head = side.source.head().await.unwrap();
        sqlx::raw_sql("COMMIT").execute(&mut late).await.unwrap();
        db.run("INSERT INTO t VALUES (3, 'after')").await;
        let (changes, _): (Vec<Change>, _) = drain(&mut *side.source, &head).await;
        assert_eq!(shown(&changes), "U1 U3");
        late.close().await.unwrap();
    })
    .await;
}
