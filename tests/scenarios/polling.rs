//! Changes found by an updated-at column: inserts and updates, never twice written, nothing made in the systems.

use serde_json::json;

use super::{Kind, Setup};

pub async fn both_ways(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let mut config = json!({"sync_type": "bidirectional", "performance_settings": {"change_detection": "polling"}});
    config["source"] = setup.source.endpoint("crm", "customers");
    config["source"]["updated_at"] = json!("updated_at");
    config["target"] = setup.target.endpoint("erp", "clients");
    config["target"]["updated_at"] = json!("updated_at");
    setup.configure(config);
    setup.source.execute("INSERT INTO customers (id, name, updated_at) VALUES (1, 'Ada', '2026-01-01 00:00:00'), (2, 'Bob', '2026-01-01 00:00:00')").await;
    setup.tidelock.once(0);
    setup.settled().await;

    setup.source.execute("UPDATE customers SET phone = '1', updated_at = '2026-01-01 00:05:00' WHERE id = 1").await;
    setup
        .target
        .execute("INSERT INTO clients (client_id, full_name, updated_at) VALUES (3, 'Cid', '2026-01-01 00:06:00')")
        .await;
    setup.tidelock.once(0);
    setup.settled().await;

    // Committed late, with a time before the newest seen: the overlap window finds it.
    setup.source.execute("INSERT INTO customers (id, name, updated_at) VALUES (4, 'Dot', '2026-01-01 00:04:30')").await;
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(setup.contents().await.1.len(), 4);
}
