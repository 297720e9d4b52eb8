//! Both ways over a shared key: both sides' records are matched, merged field by field, and follow each other.

use serde_json::json;

use super::{Kind, Setup};

pub async fn converges(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup
        .source
        .execute("INSERT INTO customers (id, name, phone, city) VALUES (1, 'Ada', '1', NULL), (2, 'Bob', '2', 'Bonn')")
        .await;
    setup.target.execute("INSERT INTO clients (client_id, full_name, phone, town) VALUES (1, 'Ada', '1', 'Aachen'), (3, 'Cid', '3', 'Celle')").await;

    let first = setup.tidelock.once(0);
    assert_eq!(
        (first.number("written_source"), first.number("written_target"), first.number("conflicts")),
        (2, 1, 0),
        "{}",
        first.lines[0]
    );
    setup.settled().await;
    assert_eq!(setup.source.value("SELECT city FROM customers WHERE id = 1").await.as_deref(), Some("Aachen"));

    // Edits on both sides, different fields of one record among them: merged, no conflict.
    setup
        .source
        .execute("UPDATE customers SET phone = '11' WHERE id = 1; INSERT INTO customers (id, name) VALUES (4, 'Dot')")
        .await;
    setup.target.execute("UPDATE clients SET town = 'Ahlen' WHERE client_id = 1; INSERT INTO clients (client_id, full_name) VALUES (5, 'Eve')").await;
    let second = setup.tidelock.once(0);
    assert_eq!(second.number("conflicts"), 0, "{}", second.lines[0]);
    let merged = setup.source.rows("SELECT phone, city FROM customers WHERE id = 1").await;
    assert_eq!(merged, [[Some("11".to_owned()), Some("Ahlen".to_owned())]]);
    setup.settled().await;

    // Deletes travel both ways, and a deleted key may be used again.
    setup.source.execute("DELETE FROM customers WHERE id = 2").await;
    setup.target.execute("DELETE FROM clients WHERE client_id = 3").await;
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(setup.source.value("SELECT CAST(count(*) AS TEXT) FROM customers").await.as_deref(), Some("3"));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (2, 'Bert')").await;
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(setup.target.value("SELECT full_name FROM clients WHERE client_id = 2").await.as_deref(), Some("Bert"));
}

/// What tidelock makes in a system is made once, and taken away on request; going on afterwards loses nothing.
pub async fn tracking_is_removed_on_request(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    setup.tidelock.once(0);
    for (database, kind) in [(&setup.source, kinds.0), (&setup.target, kinds.1)] {
        assert_ne!(database.value(made(kind)).await.as_deref(), Some("0"));
    }
    let ran = setup.tidelock.run(&["pause", "customers", "sync.json", "--remove", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.errors);
    for (database, kind) in [(&setup.source, kinds.0), (&setup.target, kinds.1)] {
        assert_eq!(database.value(made(kind)).await.as_deref(), Some("0"), "{kind:?}");
    }
    setup.source.execute("DELETE FROM customers WHERE id = 1; UPDATE customers SET city = 'Bonn' WHERE id = 2").await;
    setup.target.execute("INSERT INTO clients (client_id, full_name) VALUES (3, 'Cid')").await;
    assert_eq!(setup.tidelock.run(&["resume", "customers"]).code, 0);
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(setup.source.value("SELECT CAST(count(*) AS TEXT) FROM customers").await.as_deref(), Some("2"));
}

/// A change stream that is not the one that was followed stops the pair, and nothing is written or deleted until a person asks for it.
pub async fn a_lost_stream_stops_until_a_resync(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    setup.tidelock.once(0);
    // What a restored database comes to: the consumer that was registered is not known any more.
    let forgotten = match kinds.0 {
        Kind::PostgresLog => {
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        }
        Kind::MysqlLog => "DELETE FROM tidelock_binlog",
        Kind::Sqlite | Kind::Postgres | Kind::Mysql => "DELETE FROM tidelock_consumers",
    };
    setup.source.execute(forgotten).await;
    setup.source.execute("DELETE FROM customers WHERE id = 1; UPDATE customers SET city = 'Bonn' WHERE id = 2").await;
    let before = setup.contents().await;
    for _ in 0..2 {
        let ran = setup.tidelock.once(1);
        let error = &ran.lines[0]["error"];
        assert_eq!(error["code"], "source.stream_lost", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("\"crm\", customers") && message.contains("`tidelock resync customers`"), "{message}");
        assert_eq!(setup.contents().await, before, "nothing is written until a person asks for it");
    }
    let mut service = setup.tidelock.serve();
    service.awaits_503("source.stream_lost").await;
    setup.target.execute("INSERT INTO clients (client_id, full_name) VALUES (3, 'Cid')").await;
    assert_eq!(setup.tidelock.run(&["resync", "customers"]).code, 0);
    setup.source.await_value("SELECT name FROM customers WHERE id = 3", "Cid").await;
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients", "2").await;
    service.ready().await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
    assert_eq!(setup.target.value("SELECT town FROM clients WHERE client_id = 2").await.as_deref(), Some("Bonn"));
}

/// Also where nothing has run yet: the pair stays paused when its service starts.
pub async fn a_pause_before_the_first_run_holds(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let paused = setup.tidelock.run(&["pause", "customers", "sync.json"]);
    assert_eq!(paused.code, 0, "{}", paused.errors);
    let service = setup.tidelock.serve();
    service.awaits_503("tidelock pause").await;
    assert_eq!(setup.target.value("SELECT full_name FROM clients").await, None);
    assert_eq!(setup.tidelock.run(&["resume", "customers"]).code, 0);
    setup.target.await_value("SELECT full_name FROM clients", "Ada").await;
}

fn made(kind: Kind) -> &'static str {
    match kind {
        Kind::Mysql | Kind::MysqlLog => "SELECT CAST((SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tidelock%') \
            + (SELECT count(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()) AS TEXT)",
        Kind::Sqlite => "SELECT CAST(count(*) AS TEXT) FROM sqlite_master WHERE name LIKE 'tidelock%'",
        Kind::PostgresLog => {
            "SELECT CAST((SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())
               + (SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%') AS TEXT)"
        }
        Kind::Postgres => {
            "SELECT CAST((SELECT count(*) FROM pg_class WHERE relname LIKE 'tidelock%') + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'tidelock%')
               + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tidelock%') AS TEXT)"
        }
    }
}
