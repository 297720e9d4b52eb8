//! The service: changes travel while it runs, both ways; it stops cleanly.

use serde_json::json;

use super::{Kind, Setup};

pub async fn changes_travel(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "Ada").await;
    for round in 0..5 {
        setup.source.execute(&format!("UPDATE customers SET phone = 'p{round}' WHERE id = 1")).await;
        setup.target.await_value("SELECT phone FROM clients WHERE client_id = 1", &format!("p{round}")).await;
        setup.target.execute(&format!("UPDATE clients SET town = 't{round}' WHERE client_id = 1")).await;
        setup.source.await_value("SELECT city FROM customers WHERE id = 1", &format!("t{round}")).await;
    }
    setup.target.execute("DELETE FROM clients WHERE client_id = 1").await;
    setup.source.await_value("SELECT CAST(count(*) AS TEXT) FROM customers", "0").await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

/// `pause` is obeyed by a running service, and `resume` loses nothing.
pub async fn pause_and_resume(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "Ada").await;
    assert_eq!(setup.tidelock.run(&["pause", "customers", "sync.json"]).code, 0);
    let url = format!("http://{}/readyz", service.address().await);
    while crate::harness::http().get(&url).send().await.unwrap().status().is_success() {
        tokio::task::yield_now().await;
    }
    setup.source.execute("UPDATE customers SET phone = '2' WHERE id = 1").await;
    assert_eq!(setup.target.value("SELECT phone FROM clients WHERE client_id = 1").await, None);
    assert_eq!(setup.tidelock.run(&["resume", "customers"]).code, 0);
    setup.target.await_value("SELECT phone FROM clients WHERE client_id = 1", "2").await;
    assert_eq!(service.stop(), 0);
    setup.settled().await;
}
