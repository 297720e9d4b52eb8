//! `kill -9`, ten times in the initial load and ten times under edits on both sides: nothing lost, doubled or looping (I11).

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::{Kind, Setup};

const KILLS: u64 = 10;

/// Spread over the run without a pattern: a multiplicative hash of the round.
fn moment_ms(round: u64, span: u64) -> u64 {
    round.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) % span
}

impl Setup {
    async fn names(&self) -> (Vec<Option<String>>, Vec<Option<String>>) {
        let first = |rows: Vec<Vec<Option<String>>>| rows.into_iter().map(|mut row| row.remove(0)).collect();
        (
            first(self.source.rows("SELECT name FROM customers ORDER BY name").await),
            first(self.target.rows("SELECT full_name FROM clients ORDER BY full_name").await),
        )
    }
}

pub async fn during_the_initial_load(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    // The hardest case: keys are generated and written back.
    setup.without_shared_key(kinds, json!({"performance_settings": {"batch_size": 100}})).await;
    let rows = |from: u32, prefix: &str| {
        (from..from + 3_000).map(|n| format!("('{prefix}{n:05}')")).collect::<Vec<_>>().join(", ")
    };
    setup.source.execute(&format!("INSERT INTO customers (name) VALUES {}", rows(0, "s"))).await;
    setup.target.execute(&format!("INSERT INTO clients (full_name) VALUES {}", rows(0, "t"))).await;
    for round in 0..KILLS {
        let mut child = setup
            .tidelock
            .command(&["run", "sync.json", "--once"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(60 + moment_ms(round, 600))).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    setup.tidelock.once(0);
    let (source, target) = setup.names().await;
    assert_eq!(source.len(), 6_000, "lost or doubled");
    assert_eq!(source, target);
    let mut distinct = source.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 6_000);
    setup.quiet();
    setup.tidelock.audit(0);
}

pub async fn during_ongoing_sync(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    // The hardest case: keys are generated and written back.
    setup.without_shared_key(kinds, json!({"performance_settings": {"batch_size": 100}})).await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('s0'), ('s1')").await;
    setup.tidelock.once(0);
    let mut born = vec!["s0".to_owned(), "s1".to_owned()];
    for round in 0..KILLS {
        let mut service = setup.tidelock.serve();
        let end = tokio::time::Instant::now() + Duration::from_millis(150 + moment_ms(round, 400));
        let mut edit = 0;
        while tokio::time::Instant::now() < end {
            let (source, target) = (format!("s{round}_{edit}"), format!("t{round}_{edit}"));
            setup.source.execute(&format!("INSERT INTO customers (name) VALUES ('{source}'); UPDATE customers SET phone = '{round}-{edit}' WHERE name = 's0'")).await;
            setup.target.execute(&format!("INSERT INTO clients (full_name) VALUES ('{target}'); UPDATE clients SET phone = '{round}-{edit}' WHERE full_name = 's1'")).await;
            born.extend([source, target]);
            edit += 1;
        }
        service.kill();
    }
    setup.tidelock.once(0);
    let (source, target) = setup.names().await;
    born.sort();
    assert_eq!(source.into_iter().flatten().collect::<Vec<_>>(), born, "lost or doubled");
    assert_eq!(target.into_iter().flatten().collect::<Vec<_>>(), born);
    setup.quiet();
    setup.tidelock.audit(0);
}
