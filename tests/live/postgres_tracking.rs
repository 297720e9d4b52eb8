//! Change tables: who made what, what is never skipped, who hears of it, and that nothing stays behind.

use std::time::{Duration, Instant};

use sqlx::Connection;
use tidelock::connector::Write;
use tidelock::record::Record;
use tidelock::value::Value;

use crate::postgres::{Db, Opening, assert_error, drain, key, outcomes, shown, text, with_db};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text)";
const OURS: &str = "SELECT (SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%') + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'tidelock%') \
     + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tidelock%')";

async fn tracked(db: &Db) -> Opening {
    db.run(TABLE).await;
    db.table("t", &["id", "name"])
}

#[tokio::test]
async fn preparing_twice_is_the_same_and_removing_leaves_nothing() {
    with_db(|db| async move {
        let opening = tracked(&db).await;
        let mut side = opening.open().await;
        assert_eq!(db.number(OURS).await, 0);
        let first = side.source.prepare().await.unwrap();
        let made = db.number(OURS).await;
        assert_eq!(side.source.prepare().await.unwrap(), first);
        assert_eq!(opening.open().await.source.prepare().await.unwrap(), first);
        assert_eq!(db.number(OURS).await, made);
        side.source.remove().await.unwrap();
        assert_eq!(db.number(OURS).await, 0);
        side.source.remove().await.unwrap();
        assert_ne!(side.source.prepare().await.unwrap(), first);
    })
    .await;
}

#[tokio::test]
async fn preparing_at_the_same_time_makes_one_stream() {
    with_db(|db| async move {
        let opening = tracked(&db).await;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let opening = opening.clone();
                tokio::spawn(async move { opening.open().await.source.prepare().await.unwrap() })
            })
            .collect();
        let mut names = Vec::new();
        for task in tasks {
            names.push(task.await.unwrap());
        }
        names.dedup();
        assert_eq!(names.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn inserts_updates_deletes_and_new_keys_are_seen_in_order() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
        db.run("UPDATE t SET name = 'x' WHERE id = 1").await;
        db.run("UPDATE t SET id = 3 WHERE id = 2").await;
        db.run("DELETE FROM t WHERE id = 1").await;
        let (changes, end) = drain(side.source.as_mut(), &head).await;
        assert_eq!(shown(&changes), "U1 U2 U1 D2 U3 D1");
        assert!(changes.iter().all(|change| change.at.is_some() && change.image.is_none()));
        let again = side.source.next_batch(&end, 10).await.unwrap();
        assert!(again.changes.is_empty() && !again.more && again.through == end);
    })
    .await;
}

#[tokio::test]
async fn what_commits_late_is_not_skipped() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        let (mut early, mut late) = (db.connect().await, db.connect().await);
        let mut first = early.begin().await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO t VALUES (1, 'early'); SAVEPOINT s; INSERT INTO t VALUES (10, 'sub'); RELEASE SAVEPOINT s",
        )
        .execute(&mut *first)
        .await
        .unwrap();
        let mut second = late.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (2, 'late')").execute(&mut *second).await.unwrap();
        second.commit().await.unwrap();
        let (changes, position) = drain(side.source.as_mut(), &head).await;
        assert_eq!(shown(&changes), "U2");
        first.commit().await.unwrap();
        let (changes, position) = drain(side.source.as_mut(), &position).await;
        assert_eq!(shown(&changes), "U1 U10");
        assert!(drain(side.source.as_mut(), &position).await.0.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_window_read_page_by_page_sees_everything_once() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        side.source.prepare().await.unwrap();
        let mut position = side.source.head().await.unwrap();
        let mut early = db.connect().await;
        let mut first = early.begin().await.unwrap();
        sqlx::query("INSERT INTO t SELECT g, 'early' FROM generate_series(101, 105) g")
            .execute(&mut *first)
            .await
            .unwrap();
        db.run("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5) g").await;
        let page = side.source.next_batch(&position, 3).await.unwrap();
        assert_eq!((shown(&page.changes).as_str(), page.more), ("U1 U2 U3", true));
        position = page.through;
        // Becomes visible while the window is open: it belongs to the next one.
        first.commit().await.unwrap();
        db.run("INSERT INTO t VALUES (6, 'y')").await;
        let (changes, position) = {
            let mut all = Vec::new();
            loop {
                let page = side.source.next_batch(&position, 3).await.unwrap();
                let (done, more) = (page.changes.is_empty(), page.more);
                all.extend(page.changes);
                position = page.through;
                if done && !more {
                    break (all, position);
                }
            }
        };
        assert_eq!(shown(&changes), "U4 U5 U101 U102 U103 U104 U105 U6");
        assert!(drain(side.source.as_mut(), &position).await.0.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_rolled_back_is_never_seen() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("BEGIN; INSERT INTO t VALUES (1, 'a'); ROLLBACK").await;
        db.run(
            "BEGIN; INSERT INTO t VALUES (2, 'a'); SAVEPOINT s; INSERT INTO t VALUES (3, 'a'); ROLLBACK TO s; COMMIT",
        )
        .await;
        let (changes, _) = drain(side.source.as_mut(), &head).await;
        assert_eq!(shown(&changes), "U2");
    })
    .await;
}

#[tokio::test]
async fn a_commit_wakes_the_reader_within_milliseconds() {
    with_db(|db| async move {
        db.run("CREATE TABLE other (id int PRIMARY KEY)").await;
        let mut side = tracked(&db).await.open().await;
        let mut neighbour = db.table("other", &["id"]).open().await;
        side.source.prepare().await.unwrap();
        neighbour.source.prepare().await.unwrap();
        let mut writer = db.connect().await;
        let mut worst = Duration::ZERO;
        for id in 0..20 {
            sqlx::query("INSERT INTO t VALUES ($1, 'a')").bind(id).execute(&mut writer).await.unwrap();
            let began = Instant::now();
            side.source.wait(Duration::from_secs(10)).await.unwrap();
            worst = worst.max(began.elapsed());
        }
        assert!(worst < Duration::from_millis(500), "{worst:?}");
        // The neighbour heard of none of these; nor did we of more than was written.
        for source in [&mut neighbour.source, &mut side.source] {
            let began = Instant::now();
            source.wait(Duration::from_millis(300)).await.unwrap();
            assert!(began.elapsed() >= Duration::from_millis(290));
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_between_a_read_and_a_wait_is_not_missed() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        assert!(drain(side.source.as_mut(), &head).await.0.is_empty());
        db.run("INSERT INTO t VALUES (1, 'a')").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        side.source.wait(Duration::from_secs(10)).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1));
    })
    .await;
}

#[tokio::test]
async fn a_lost_listener_comes_back_and_makes_the_reader_look() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        side.source.prepare().await.unwrap();
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'").await;
        side.source.wait(Duration::from_secs(20)).await.unwrap();
        db.run("INSERT INTO t VALUES (1, 'a')").await;
        let began = Instant::now();
        side.source.wait(Duration::from_secs(20)).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(10));
    })
    .await;
}

#[tokio::test]
async fn consumers_share_a_change_table_and_do_not_see_their_own_writes() {
    with_db(|db| async move {
        let opening = tracked(&db).await;
        let (mut one, mut two) = (opening.clone().consumer("one").open().await, opening.consumer("two").open().await);
        one.source.prepare().await.unwrap();
        two.source.prepare().await.unwrap();
        let (head_one, head_two) = (one.source.head().await.unwrap(), two.source.head().await.unwrap());
        let record = Record::of([("id", Value::Int(1)), ("name", text("a"))]);
        let done = one.target.write(&[Write::Create { record }]).await.unwrap();
        assert_eq!(outcomes(&done), ["applied"]);
        let (own, after_one) = drain(one.source.as_mut(), &head_one).await;
        assert!(own.is_empty() && after_one != head_one);
        let (others, after_two) = drain(two.source.as_mut(), &head_two).await;
        assert_eq!(shown(&others), "U1");
        assert_eq!(one.target.change_times(&[key(1)]).await.unwrap(), [None]);
        assert_eq!(two.target.change_times(&[key(1), key(2)]).await.unwrap(), [others[0].at, None]);

        one.source.acknowledge(&after_one).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM tidelock_changes_t").await, 1, "the other has not acknowledged");
        two.source.acknowledge(&after_two).await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM tidelock_changes_t").await, 0);

        one.source.remove().await.unwrap();
        db.run("INSERT INTO t VALUES (2, 'b')").await;
        assert_eq!(shown(&drain(two.source.as_mut(), &after_two).await.0), "U2");
        assert_error(
            &one.source.next_batch(&after_one, 1).await.unwrap_err(),
            "source.tracking_lost",
            &["not registered"],
        );
        two.source.remove().await.unwrap();
        assert_eq!(db.number(OURS).await, 0);
    })
    .await;
}

#[tokio::test]
async fn writes_of_triggers_that_our_writes_fire_are_seen() {
    with_db(|db| async move {
        let opening = tracked(&db).await;
        db.run(
            "CREATE FUNCTION twin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.id < 100 THEN INSERT INTO t VALUES (NEW.id + 100, 'twin'); END IF; RETURN NULL; END $$;
             CREATE TRIGGER twin AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION twin()",
        )
        .await;
        let mut side = opening.open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        let record = Record::of([("id", Value::Int(1)), ("name", text("a"))]);
        side.target.write(&[Write::Create { record }]).await.unwrap();
        assert_eq!(shown(&drain(side.source.as_mut(), &head).await.0), "U101");
    })
    .await;
}

#[tokio::test]
async fn a_truncation_a_dropped_trigger_and_a_restored_server_ask_for_a_reload() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        let first = side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("TRUNCATE t").await;
        let error = side.source.next_batch(&head, 10).await.unwrap_err();
        assert_error(&error, "source.truncated", &["public.t", "resync"]);
        let head = side.source.head().await.unwrap();
        assert!(side.source.next_batch(&head, 10).await.is_ok());
        let future = tidelock::change::Position("{\"seen\":\"9000000000:9000000000:\"}".to_owned());
        assert_error(
            &side.source.next_batch(&future, 10).await.unwrap_err(),
            "source.tracking_lost",
            &["ahead of the server"],
        );
        let strange = tidelock::change::Position("17".to_owned());
        assert_error(
            &side.source.next_batch(&strange, 10).await.unwrap_err(),
            "source.tracking_lost",
            &["none of this"],
        );

        db.run("DROP TRIGGER tidelock_track ON t").await;
        let second = side.source.prepare().await.unwrap();
        assert_ne!(second, first);
        db.run("DROP TABLE tidelock_changes_t CASCADE").await;
        assert_error(&side.source.next_batch(&head, 10).await.unwrap_err(), "source.tracking_lost", &[]);
        assert_ne!(side.source.prepare().await.unwrap(), second);
    })
    .await;
}

#[tokio::test]
async fn a_renamed_key_column_fails_no_write_and_asks_for_a_reload() {
    with_db(|db| async move {
        let mut side = tracked(&db).await.open().await;
        let first = side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("ALTER TABLE t RENAME COLUMN id TO code").await;
        db.run("INSERT INTO t VALUES (1, 'a'); UPDATE t SET name = 'b'; DELETE FROM t").await;
        let error = side.source.next_batch(&head, 10).await.unwrap_err();
        assert_error(&error, "source.tracking_lost", &["key column", "resync"]);

        let mut renamed = db.table("t", &["code", "name"]).correlation(&["code"]).open().await;
        assert_ne!(renamed.source.prepare().await.unwrap(), first, "both sides are compared in full");
        let head = renamed.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (2, 'c')").await;
        assert_eq!(shown(&drain(renamed.source.as_mut(), &head).await.0), "U2");
    })
    .await;
}

#[tokio::test]
async fn partitions_and_composite_keys_are_tracked() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE p (a int, b text, v int, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
             CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
        )
        .await;
        let mut side = db.table("p", &["a", "b", "v"]).correlation(&["a", "b"]).open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO p VALUES (1, 'x', 1); INSERT INTO p2 VALUES (2, 'y', 1); UPDATE p SET a = 2 WHERE b = 'x'; CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3)").await;
        db.run("INSERT INTO p VALUES (3, 'z', 1)").await;
        let (changes, _) = drain(side.source.as_mut(), &head).await;
        assert_eq!(shown(&changes), "U(1, x) U(2, y) D(1, x) U(2, x) U(3, z)");
        side.source.remove().await.unwrap();
        assert_eq!(db.number(OURS).await, 0);
    })
    .await;
}

#[tokio::test]
async fn applications_need_no_grants_and_odd_names_and_key_types_do_no_harm() {
    with_db(|db| async move {
        db.run(
            "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE \"T'$tidelock$ \"\"x\" (\"K\"\"'1\" mood PRIMARY KEY, v int);
             DROP ROLE IF EXISTS tl_app; CREATE ROLE tl_app; GRANT ALL ON \"T'$tidelock$ \"\"x\" TO tl_app",
        )
        .await;
        let mut side = db.table("T'$tidelock$ \"x", &["K\"'1", "v"]).open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("SET ROLE tl_app; SET search_path = ''; INSERT INTO public.\"T'$tidelock$ \"\"x\" VALUES ('a', 1)").await;
        assert_eq!(shown(&drain(side.source.as_mut(), &head).await.0), "Ua");
        side.source.wait(Duration::from_secs(5)).await.unwrap();
        side.source.remove().await.unwrap();
        db.run("DROP OWNED BY tl_app; DROP ROLE tl_app").await;
    })
    .await;
}
