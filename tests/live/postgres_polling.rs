//! Polling by a column: pages, overlaps, and that an idle table is quiet.

use std::time::Duration;

use sqlx::Connection;
use tidelock::value::Value;

use crate::postgres::{Db, Opening, assert_error, drain, key, shown, with_db};

const HOUR: Duration = Duration::from_secs(3600);

async fn polled(db: &Db) -> Opening {
    db.run("CREATE TABLE t (id int PRIMARY KEY, name text, at timestamptz)").await;
    db.table("t", &["id", "name", "at"]).polling("at", HOUR)
}

#[tokio::test]
async fn changes_come_in_order_with_their_images_and_an_idle_table_is_quiet() {
    with_db(|db| async move {
        let mut side = polled(&db).await.open().await;
        assert!(!side.source.capabilities().deletes);
        side.source.prepare().await.unwrap();
        assert_eq!(db.number("SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%'").await, 0);
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t SELECT g, 'a', now() - make_interval(mins => 10 - g) FROM generate_series(1, 7) g; INSERT INTO t VALUES (8, 'no time', NULL)").await;
        let page = side.source.next_batch(&head, 3).await.unwrap();
        assert_eq!((shown(&page.changes).as_str(), page.more), ("U1 U2 U3", true));
        let change = &page.changes[0];
        assert_eq!(change.image.as_ref().unwrap().get("at"), Some(&Value::Instant(change.at.unwrap())));
        let (rest, position) = drain(side.source.as_mut(), &page.through).await;
        assert_eq!(shown(&rest), "U4 U5 U6 U7");
        let (idle, position) = drain(side.source.as_mut(), &position).await;
        assert!(idle.is_empty());
        let idle = side.source.next_batch(&position, 100).await.unwrap();
        assert_eq!((idle.changes.len(), idle.more, &idle.through), (0, false, &position));
        db.run("UPDATE t SET name = 'b', at = now() WHERE id = 2; UPDATE t SET name = 'same time' WHERE id = 7").await;
        assert_eq!(shown(&drain(side.source.as_mut(), &position).await.0), "U7 U2");
        assert_eq!(side.target.change_times(&[key(8), key(99)]).await.unwrap(), [None, None]);
        assert!(side.target.change_times(&[key(2)]).await.unwrap()[0].is_some());
    })
    .await;
}

#[tokio::test]
async fn what_commits_late_is_seen_within_the_overlap() {
    with_db(|db| async move {
        let mut side = polled(&db).await.open().await;
        let mut early = db.connect().await;
        let mut transaction = early.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1, 'early', now())").execute(&mut *transaction).await.unwrap();
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (2, 'late', now())").await;
        let (changes, position) = drain(side.source.as_mut(), &head).await;
        assert_eq!(shown(&changes), "U2");
        transaction.commit().await.unwrap();
        let (changes, _) = drain(side.source.as_mut(), &position).await;
        assert_eq!(shown(&changes), "U1");
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_was_not_committed_is_delivered_again() {
    with_db(|db| async move {
        let opening = polled(&db).await;
        let mut side = opening.open().await;
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (1, 'a', now())").await;
        let first = side.source.next_batch(&head, 10).await.unwrap();
        let again = side.source.next_batch(&head, 10).await.unwrap();
        assert_eq!((shown(&first.changes), shown(&again.changes)), ("U1".to_owned(), "U1".to_owned()));
        // A new reader knows nothing of what was delivered inside the overlap.
        let mut other = opening.open().await;
        assert_eq!(shown(&drain(other.source.as_mut(), &again.through).await.0), "U1");
    })
    .await;
}

#[tokio::test]
async fn a_time_in_the_future_hides_nothing() {
    with_db(|db| async move {
        let opening = polled(&db).await;
        let mut side = opening.polling("at", Duration::from_secs(60)).open().await;
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (1, 'wrong clock', now() + interval '1 year'), (2, 'never', 'infinity')").await;
        let (changes, position) = drain(side.source.as_mut(), &head).await;
        assert_eq!(shown(&changes), "U1");
        db.run("INSERT INTO t VALUES (3, 'a', now())").await;
        assert_eq!(shown(&drain(side.source.as_mut(), &position).await.0), "U3");
    })
    .await;
}

#[tokio::test]
async fn a_record_that_leaves_the_filter_is_named_without_an_image() {
    with_db(|db| async move {
        let mut side = polled(&db).await.filter("name <> 'out'").open().await;
        let head = side.source.head().await.unwrap();
        db.run("INSERT INTO t VALUES (1, 'in', now()), (2, 'out', now())").await;
        let (changes, _) = drain(side.source.as_mut(), &head).await;
        assert_eq!(changes.iter().map(|change| change.image.is_some()).collect::<Vec<_>>(), [true, false]);
    })
    .await;
}

#[tokio::test]
async fn composite_keys_dates_and_local_times_are_paged() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE d (a text, b numeric, day date, local timestamp, n int, PRIMARY KEY (a, b));
             INSERT INTO d SELECT 'k' || g / 4, g, '2024-01-01', '2024-01-01 00:00:00', g FROM generate_series(1, 10) g",
        )
        .await;
        for column in ["day", "local"] {
            let mut side = db.table("d", &["a", "b", "day", "local", "n"]).polling(column, Duration::ZERO).open().await;
            let start = tidelock::change::Position("{\"batch\":0,\"newest\":null}".to_owned());
            let (mut position, mut seen) = (start, Vec::new());
            loop {
                let page = side.source.next_batch(&position, 3).await.unwrap();
                seen.extend(page.changes.into_iter().map(|change| change.key));
                position = page.through;
                if !page.more {
                    break;
                }
            }
            assert_eq!(seen.len(), 10, "{column}");
            seen.dedup();
            assert_eq!(seen.len(), 10);
        }
    })
    .await;
}

#[tokio::test]
async fn a_column_that_is_no_time_is_refused() {
    with_db(|db| async move {
        let opening = polled(&db).await;
        for (column, hint) in [("name", "type text"), ("missing", "no column missing")] {
            let error = opening.clone().polling(column, HOUR).try_open().await.err().unwrap();
            assert_error(&error, "postgres.updated_at", &["public.t", hint]);
        }
        let mut unnamed = opening.clone();
        unnamed.options.updated_at = None;
        assert_error(&unnamed.try_open().await.err().unwrap(), "postgres.updated_at", &["needs updated_at"]);
    })
    .await;
}
