//! Changes that carry their records: the log has them as a query prints them, and what it has not whole is looked up. Nobody who was shown a
//! record is handed an older one afterwards.

use std::time::Duration;

use tidelock::change::{Change, Position};
use tidelock::connector::{Side, Source, Write, WriteOutcome};
use tidelock::record::Record;
use tidelock::value::Value;

use crate::cluster::Cluster;
use crate::postgres::{Db, Opening, drain, key, shown, text, with_db};

/// Types with values, as literals.
const COLUMNS: [(&str, [&str; 2]); 22] = [
    ("bool", ["true", "NULL"]),
    ("int2", ["-32768", "7"]),
    ("int4", ["2147483647", "NULL"]),
    ("int8", ["-9223372036854775808", "9007199254740993"]),
    ("float4", ["'NaN'", "3.4028235e38"]),
    ("float8", ["5e-324", "'-Infinity'"]),
    ("numeric", ["1234567890123456789012345678901234567890.120", "'NaN'"]),
    ("text", ["E'a\\tb\\nc\\\\ \u{1F30A}'", "''"]),
    ("varchar(9)", ["'e\u{301}'", "' blanks '"]),
    ("char(6)", ["'ab'", "''"]),
    ("bytea", ["'\\xdeadbeef5c27'", "''"]),
    ("date", ["'4713-01-01 BC'", "'infinity'"]),
    ("time", ["'24:00'", "'23:59:59.999999'"]),
    ("timetz", ["'12:00+15:59'", "NULL"]),
    ("timestamp", ["'294276-12-31 23:59:59.999999'", "'-infinity'"]),
    ("timestamptz", ["'1900-01-01 00:00+00:17:30'", "'0044-03-15 12:00 BC'"]),
    ("interval", ["'1 year -2 mons 3 days -04:05:06.789'", "'0'"]),
    ("json", ["'{\"b\": 1.0,  \"a\": [null]}'", "'1'"]),
    ("jsonb", ["'{\"b\": 1.0,  \"a\": [null]}'", "'12345678901234567890.5'"]),
    ("uuid", ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "NULL"]),
    ("inet", ["'10.1.2.3'", "'fe80::1/64'"]),
    ("cidr", ["'10.1.0.0/16'", "NULL"]),
];

fn carrying(mut opening: Opening) -> Opening {
    opening.options.images = true;
    opening.logical()
}

/// A side whose stream runs, so that what is committed from now on is carried; and where it stands.
async fn start(opening: Opening) -> (Side, Position) {
    let mut side = carrying(opening).open().await;
    side.source.prepare().await.unwrap();
    let head = side.source.head().await.unwrap();
    let (changes, position) = drain(side.source.as_mut(), &head).await;
    assert!(changes.is_empty());
    (side, position)
}

async fn table(db: &Db) -> (Side, Position) {
    // What is long is stored apart, and not logged where it does not change.
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, name text, long text); ALTER TABLE t ALTER long SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT n, 'old', repeat('long ', 2000) FROM generate_series(1, 3) n",
    )
    .await;
    start(db.table("t", &["id", "name", "long"])).await
}

fn name(change: &Change) -> Option<&Value> {
    change.image.as_ref().and_then(|image| image.get("name"))
}

async fn one(source: &mut dyn Source, after: &Position) -> (Change, Position) {
    let batch = source.next_batch(after, 1).await.unwrap();
    let [change] = <[Change; 1]>::try_from(batch.changes).unwrap();
    (change, batch.through)
}

#[tokio::test]
async fn the_log_has_records_as_a_query_prints_them() {
    with_db(async |db| {
        let names: Vec<String> = (0..COLUMNS.len()).map(|place| format!("c{place}")).collect();
        let columns: Vec<String> = names.iter().zip(COLUMNS).map(|(name, (kind, _))| format!("{name} {kind}")).collect();
        db.run(&format!("CREATE TABLE t (id int PRIMARY KEY, {})", columns.join(", "))).await;
        let fields: Vec<&str> = ["id"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let (mut side, position) = start(db.table("t", &fields)).await;
        for id in 0..2 {
            let cells: Vec<&str> = COLUMNS.iter().map(|(_, values)| values[id]).collect();
            db.run(&format!(
                "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape'; \
                 SET extra_float_digits = 0; INSERT INTO t VALUES ({id}, {})",
                cells.join(", ")
            ))
            .await;
        }
        let (changes, _) = drain(side.source.as_mut(), &position).await;
        assert_eq!(shown(&changes), "U0 U1");
        let read = side.target.fetch(&[key(0), key(1)]).await.unwrap();
        let carried: Vec<Option<Record>> = changes.into_iter().map(|change| change.image).collect();
        // NaN is like nothing: the texts are compared.
        assert_eq!(format!("{carried:?}"), format!("{read:?}"));
        assert!(read.iter().all(Option::is_some));
    })
    .await;
}

#[tokio::test]
async fn each_change_has_the_record_that_it_made() {
    with_db(async |db| {
        db.run("CREATE TABLE t (id int PRIMARY KEY, name text)").await;
        let (mut side, position) = start(db.table("t", &["id", "name"])).await;
        db.run("INSERT INTO t VALUES (1, 'a')").await;
        db.run("UPDATE t SET name = 'b'").await;
        db.run("UPDATE t SET id = 2, name = NULL").await;
        db.run("DELETE FROM t").await;
        let (changes, _) = drain(side.source.as_mut(), &position).await;
        assert_eq!(shown(&changes), "U1 U1 D1 U2 D2");
        let names: Vec<Option<&Value>> = changes.iter().map(name).collect();
        let (a, b) = (text("a"), text("b"));
        assert_eq!(names, [Some(&a), Some(&b), None, Some(&Value::Null), None]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_in_the_log_is_looked_up_and_nothing_older_comes_after_it() {
    with_db(async |db| {
        let (mut side, position) = table(&db).await;
        db.run("UPDATE t SET name = 'new' WHERE id = 1").await;
        db.run("UPDATE t SET name = 'first', long = 'short' WHERE id = 2").await;
        db.run("UPDATE t SET name = 'second' WHERE id = 2").await;
        // Its long text did not come along.
        let (change, position) = one(side.source.as_mut(), &position).await;
        let read = side.target.fetch(&[key(1)]).await.unwrap();
        assert_eq!(change.image, read[0]);
        assert_eq!(name(&change), Some(&text("new")));
        // Somebody has looked since, and may have seen the second.
        let (change, position) = one(side.source.as_mut(), &position).await;
        assert_eq!((change.key.clone(), name(&change)), (key(2), Some(&text("second"))));
        let (_, position) = one(side.source.as_mut(), &position).await;
        let (_, position) = drain(side.source.as_mut(), &position).await;
        // From here on nobody has.
        db.run("UPDATE t SET name = 'third' WHERE id = 2").await;
        db.run("UPDATE t SET name = 'fourth' WHERE id = 2").await;
        let (change, _) = one(side.source.as_mut(), &position).await;
        assert_eq!(name(&change), Some(&text("third")));
    })
    .await;
}

#[tokio::test]
async fn what_a_filter_may_leave_out_is_looked_up() {
    with_db(async |db| {
        db.run("CREATE TABLE t (id int PRIMARY KEY, name text)").await;
        let (mut side, position) = start(db.table("t", &["id", "name"]).filter("name <> 'hidden'")).await;
        db.run("INSERT INTO t VALUES (1, 'hidden'), (2, 'shown')").await;
        let (changes, _) = drain(side.source.as_mut(), &position).await;
        assert_eq!(shown(&changes), "U1 U2");
        assert_eq!(changes.iter().map(name).collect::<Vec<_>>(), [None, Some(&text("shown"))]);
    })
    .await;
}

#[tokio::test]
async fn whoever_has_seen_or_written_a_record_is_handed_no_older_one() {
    with_db(async |db| {
        let (mut side, position) = table(&db).await;
        db.run("UPDATE t SET name = 'first', long = 'short'").await;
        db.run("UPDATE t SET name = 'second' WHERE id = 1").await;
        side.target.fetch(&[key(1)]).await.unwrap();
        let (change, position) = one(side.source.as_mut(), &position).await;
        assert_eq!((change.key.clone(), name(&change)), (key(1), Some(&text("second"))), "it was seen");
        let (_, position) = drain(side.source.as_mut(), &position).await;
        // Nobody has looked since; then we write over what somebody else wrote.
        let (_, position) = drain(side.source.as_mut(), &position).await;
        db.run("UPDATE t SET name = 'third' WHERE id = 2").await;
        let fields = Record::of([("name", text("ours"))]);
        let write = Write::Update { key: key(2), fields, guard: None };
        assert!(matches!(side.target.write(&[write]).await.unwrap()[..], [WriteOutcome::Applied { .. }]));
        let (change, _) = one(side.source.as_mut(), &position).await;
        assert_eq!((change.key.clone(), name(&change)), (key(2), Some(&text("ours"))));
    })
    .await;
}

/// A transaction stands in the log before anybody can see it, here for as long as its standby does not answer.
#[tokio::test]
async fn whoever_looks_sees_what_was_handed_out() {
    let cluster = Cluster::new().await;
    let db = Db { name: "postgres".to_owned(), url: cluster.url() };
    let (mut side, position) = table(&db).await;
    let reload = async |setting: &str| {
        db.run(setting).await;
        db.run("SELECT pg_reload_conf()").await;
    };
    reload("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    let mut writer = db.connect().await;
    let writing = sqlx::raw_sql("UPDATE t SET name = 'new', long = '' WHERE id = 1").execute(&mut writer);
    let (written, ()) = tokio::join!(writing, async {
        let change = loop {
            let batch = side.source.next_batch(&position, 1).await.unwrap();
            if let Some(change) = batch.changes.into_iter().next() {
                break change;
            }
        };
        assert_eq!(name(&change), Some(&text("new")));
        assert_eq!(db.text("SELECT name FROM t WHERE id = 1").await.as_deref(), Some("old"), "it is not visible");
        let keys = [key(1)];
        let fetching = side.target.fetch(&keys);
        tokio::pin!(fetching);
        assert!(
            tokio::time::timeout(Duration::from_millis(500), &mut fetching).await.is_err(),
            "it has to be waited for"
        );
        reload("ALTER SYSTEM RESET synchronous_standby_names").await;
        let seen = fetching.await.unwrap();
        assert_eq!(seen[0].as_ref().and_then(|record| record.get("name")), Some(&text("new")));
    });
    written.unwrap();
    // A server that is stopped waits for whoever reads its log.
    drop(side);
    tokio::task::yield_now().await;
}
