//! No shared key: the target refers to the source's key, which the source generates and tidelock writes back.

use serde_json::json;

use super::{Kind, Setup};

impl Setup {
    async fn both(&self) -> (Vec<Vec<Option<String>>>, Vec<Vec<Option<String>>>) {
        (
            self.source.rows("SELECT CAST(id AS TEXT), name, phone FROM customers ORDER BY id").await,
            self.target.rows("SELECT CAST(crm_id AS TEXT), full_name, phone FROM clients ORDER BY crm_id").await,
        )
    }
}

pub async fn generated_keys_are_written_back(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, json!({})).await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('Ada'), ('Bob')").await;
    setup.target.execute("INSERT INTO clients (nr, full_name) VALUES (100, 'Cid'), (101, 'Dot')").await;
    setup.tidelock.once(0);
    let (source, target) = setup.both().await;
    assert_eq!(source, target);
    assert_eq!(source.len(), 4);
    setup.quiet();

    setup.target.execute("INSERT INTO clients (nr, full_name) VALUES (500, 'Eve'); UPDATE clients SET phone = '1' WHERE full_name = 'Ada'").await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('Fay'); UPDATE customers SET phone = '3' WHERE name = 'Cid'; DELETE FROM customers WHERE name = 'Bob'").await;
    setup.tidelock.once(0);
    let (source, target) = setup.both().await;
    assert_eq!(source, target);
    assert_eq!(source.len(), 5);
    setup.quiet();
    let audit = setup.tidelock.audit(0);
    assert_eq!((audit.number("compared"), audit.number("matching")), (5, 5));
}

/// The target's reference is not the target's to change: it names the link.
pub async fn the_reference_is_restored(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, json!({})).await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('Ada')").await;
    setup.tidelock.once(0);
    setup.target.execute("UPDATE clients SET crm_id = 77, phone = '5'").await;
    setup.tidelock.once(0);
    let (source, target) = setup.both().await;
    assert_eq!(source, target);
    assert_eq!(source[0][2].as_deref(), Some("5"));
    setup.quiet();
}
