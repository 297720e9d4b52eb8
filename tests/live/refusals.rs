//! One bad row costs only itself, however the server refuses it: its type, a check, a trigger, a foreign key, or a constraint that is
//! not looked at before the commit.

use serde_json::json;

use crate::scenarios::{Kind, Setup};

/// Four of a hundred are refused: by length, a trigger, a check, and at the commit.
const BAD: [(u32, &str, &str, &str); 4] = [
    (7, "much too long", "1", "Bonn"),
    (23, "raise", "1", "Bonn"),
    (42, "fine", "bad", "Bonn"),
    (77, "fine", "1", "Nowhere"),
];

async fn refused_rows_are_alone(sync_type: &str) {
    let setup = Setup::new((Kind::Sqlite, Kind::Postgres)).await;
    setup.source.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, city TEXT)").await;
    setup
        .target
        .execute(
            "CREATE TABLE towns (name text PRIMARY KEY); INSERT INTO towns VALUES ('Bonn');
             CREATE TABLE clients (client_id int PRIMARY KEY, full_name varchar(8), phone text CHECK (phone <> 'bad'),
                                   town text REFERENCES towns DEFERRABLE INITIALLY DEFERRED);
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.full_name = 'raise' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    setup.configure(json!({"sync_type": sync_type}));
    let row = |id: u32| {
        let (_, name, phone, city) = BAD.into_iter().find(|bad| bad.0 == id).unwrap_or((id, "good", "1", "Bonn"));
        format!("({id}, '{name}', '{phone}', '{city}')")
    };
    let rows: Vec<String> = (0..100).map(row).collect();
    setup.source.execute(&format!("INSERT INTO customers (id, name, phone, city) VALUES {}", rows.join(", "))).await;
    let count = "SELECT CAST(count(*) AS TEXT) FROM clients";
    // In a load, into an empty table; then by changes, among edits of good ones.
    let loaded = setup.tidelock.once(1);
    assert_eq!((loaded.number("reviews"), loaded.number("written_target")), (4, 96), "{}", loaded.lines[0]);
    setup.source.execute("UPDATE customers SET phone = phone || '0' WHERE phone <> 'bad'").await;
    let followed = setup.tidelock.once(1);
    assert_eq!((followed.number("reviews"), followed.number("written_target")), (4, 96), "{}", followed.lines[0]);
    assert_eq!(setup.target.value(count).await.as_deref(), Some("96"));
    let edited = "SELECT CAST(count(*) AS TEXT) FROM clients WHERE phone = '10'";
    assert_eq!(setup.target.value(edited).await.as_deref(), Some("96"));
    setup.source.execute("UPDATE customers SET name = 'good', phone = '1', city = 'Bonn'").await;
    assert_eq!(setup.tidelock.once(0).number("reviews"), 0);
    setup.settled().await;
}

#[tokio::test]
async fn in_a_copy() {
    refused_rows_are_alone("one_way").await;
}

#[tokio::test]
async fn both_ways() {
    refused_rows_are_alone("bidirectional").await;
}

/// A row that somebody holds locked is no bad row: it is tried again, and never put aside.
#[tokio::test]
async fn a_locked_row_is_tried_again() {
    let setup = Setup::new((Kind::Sqlite, Kind::Postgres)).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "error_handling": {"retry_strategy":
        {"max_attempts": 0, "initial_delay_seconds": 0.05, "max_delay_seconds": 0.2}}}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients", "2").await;
    let crate::harness::Database::Postgres { url, .. } = &setup.target else { panic!("a server") };
    let mut holder = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
    // From now on a lock that is not had at once is an error, for whoever connects.
    setup
        .target
        .execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = ''50ms''', current_database()); END $$",
        )
        .await;
    sqlx::raw_sql("BEGIN; SELECT * FROM clients WHERE client_id = 1 FOR UPDATE").execute(&mut holder).await.unwrap();
    setup.target.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query NOT LIKE '%FOR UPDATE%'").await;
    setup.source.execute("UPDATE customers SET phone = '1'").await;
    service.awaits_503("postgres.contention").await;
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients WHERE phone = '1'", "2").await;
    service.ready().await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}
