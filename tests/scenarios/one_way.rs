//! One way: load, follow, delete; a second run writes nothing; the target never flows back.

use serde_json::json;

use super::{Kind, Setup};

pub async fn load_and_follow(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "one_way"}));
    setup
        .source
        .execute("INSERT INTO customers (id, name, phone) VALUES (1, 'Ada', '1'), (2, 'Bob', NULL), (3, 'Cid', '3')")
        .await;

    let first = setup.tidelock.once(0);
    assert_eq!((first.number("read"), first.number("written_target"), first.number("written_source")), (3, 3, 0));
    setup.settled().await;

    setup.source.execute("UPDATE customers SET phone = '22' WHERE id = 2; INSERT INTO customers (id, name) VALUES (4, 'Dot'); DELETE FROM customers WHERE id = 1").await;
    let second = setup.tidelock.once(0);
    assert_eq!(second.number("written_target"), 3, "{}", second.lines[0]);
    setup.settled().await;

    // The source is the system of record: an edit of the target waits for the source's next change and is then overwritten.
    setup.target.execute("UPDATE clients SET full_name = 'Mallory' WHERE client_id = 3").await;
    setup.quiet();
    setup.tidelock.audit(3);
    setup.source.execute("UPDATE customers SET city = 'Ulm' WHERE id = 3").await;
    setup.tidelock.once(0);
    setup.settled().await;
}

/// The target's key does not follow from the record's: links are needed.
pub async fn by_another_unique_field(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.source.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, city TEXT)").await;
    let key = kinds.1.generated_key();
    setup
        .target
        .execute(&format!("CREATE TABLE clients (client_id {key}, full_name TEXT, phone TEXT, town TEXT)"))
        .await;
    setup.configure(json!({"sync_type": "one_way", "key": {"source": "phone", "target": "phone"},
        "field_mappings": [{"source": "phone", "target": "phone"}, {"source": "name", "target": "full_name"}]}));
    setup.target.execute("INSERT INTO clients (client_id, full_name, phone) VALUES (70, 'old', '7')").await;
    setup.source.execute("INSERT INTO customers (id, name, phone) VALUES (1, 'Ada', '7'), (2, 'Bob', '8')").await;
    setup.tidelock.once(0);
    let rows = "SELECT full_name, phone FROM clients ORDER BY phone";
    let texts = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| vec![Some((*a).to_owned()), Some((*b).to_owned())]).collect::<Vec<_>>()
    };
    assert_eq!(setup.target.rows(rows).await, texts(&[("Ada", "7"), ("Bob", "8")]));
    assert_eq!(
        setup.target.value("SELECT CAST(client_id AS TEXT) FROM clients WHERE phone = '7'").await.as_deref(),
        Some("70")
    );
    setup.source.execute("DELETE FROM customers WHERE id = 1; UPDATE customers SET name = 'Bo' WHERE id = 2").await;
    setup.tidelock.once(0);
    assert_eq!(setup.target.rows(rows).await, texts(&[("Bo", "8")]));
    setup.quiet();
}
