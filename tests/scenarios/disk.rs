//! The disk is full: the pair says so, loses nothing, and goes on by itself once there is room.

use serde_json::json;

use super::{Kind, Setup};

/// No file of the service grows beyond this, in blocks of 512 bytes: the log of the state file gets there after some batches.
const BLOCKS: u32 = 2_048;

const ROWS: u32 = 5_000;

/// Every file counts, the state's first of all: each batch writes more to it than to anything else.
pub async fn is_full(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "performance_settings": {"batch_size": 100},
        "error_handling": {"retry_strategy": {"max_attempts": 0, "initial_delay_seconds": 0.05, "max_delay_seconds": 0.3}}}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (0, 'first')").await;
    setup.tidelock.once(0);
    let rows: Vec<String> = (1..ROWS).map(|id| format!("({id}, 'a name that takes some room {id}')")).collect();
    setup.source.execute(&format!("INSERT INTO customers (id, name) VALUES {}", rows.join(", "))).await;
    // Without the signal a write beyond the limit is an error, as on a full disk.
    let limit = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$@\"");
    let mut service = setup.tidelock.serve_in(&["sh", "-c", &limit, "sh"]);
    service.awaits_503("disk").await;
    // An edit of the other side meanwhile is not lost either.
    setup.target.execute("UPDATE clients SET phone = 'meanwhile' WHERE client_id = 0").await;
    service.awaits_503("disk").await;
    let id = service.id().to_string();
    let freed = std::process::Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited"]).status();
    assert!(freed.unwrap().success(), "prlimit (package util-linux) is needed");
    setup.target.await_value("SELECT CAST(count(*) AS TEXT) FROM clients", &ROWS.to_string()).await;
    setup.source.await_value("SELECT phone FROM customers WHERE id = 0", "meanwhile").await;
    service.ready().await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}
