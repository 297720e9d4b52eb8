//! `rollout`: read-only, a share of the records by a hash of their keys, a filter. What is held back is never lost.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Kind, Setup};
use crate::harness::Database;

/// Whether a key has its turn at that percentage: worked out from the documentation alone.
fn has_turn(key: &str, percentage: u64) -> bool {
    let digest = Sha256::digest(key.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().unwrap()) % 100 < percentage
}

fn turns(ids: impl IntoIterator<Item = u32>, percentage: u64) -> BTreeSet<u32> {
    ids.into_iter().filter(|id| has_turn(&id.to_string(), percentage)).collect()
}

/// Names of what tidelock has made in a database.
async fn made(database: &Database) -> Vec<Vec<Option<String>>> {
    let sql = match database {
        Database::Sqlite(_) => "SELECT name FROM sqlite_master WHERE name LIKE 'tidelock%'",
        Database::Postgres { .. } => "SELECT relname::text FROM pg_class WHERE relname LIKE 'tidelock%'",
        Database::Mysql { .. } => {
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tidelock%'"
        }
    };
    database.rows(sql).await
}

impl Setup {
    async fn ids(&self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let (source, target) = self.contents().await;
        let ids =
            |rows: Vec<Vec<Option<String>>>| rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
        (ids(source), ids(target))
    }

    /// Customers of these ids, whose names say them.
    async fn customers(&self, ids: impl IntoIterator<Item = u32>) {
        let rows: Vec<String> = ids.into_iter().map(|id| format!("({id}, 'n{id}')")).collect();
        self.source.execute(&format!("INSERT INTO customers (id, name) VALUES {}", rows.join(", "))).await;
    }

    fn roll_out(&self, sync_type: &str, rollout: Value) {
        self.configure(json!({"sync_type": sync_type, "delete_guard": false, "rollout": rollout}));
    }
}

pub async fn read_only_writes_nothing_and_loses_nothing(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.customers(1..=3).await;
    setup.target.execute("INSERT INTO clients (client_id, full_name) VALUES (3, 'Cid'), (4, 'Dot')").await;
    setup.roll_out("bidirectional", json!({"mode": "read_only"}));
    let before = setup.contents().await;
    let looked = setup.tidelock.once(0);
    assert_eq!((looked.number("written_source"), looked.number("written_target")), (0, 0));
    let would = &looked.lines[0]["would"];
    assert_eq!(
        (&would["source"]["creates"], &would["target"]["creates"], &would["conflicts"]),
        (&json!(1), &json!(2), &json!(1)),
        "{would}"
    );
    assert_eq!(setup.contents().await, before);
    assert_eq!((made(&setup.source).await, made(&setup.target).await), (vec![], vec![]), "not even tracking is made");

    setup.roll_out("bidirectional", json!({"mode": "live"}));
    setup.tidelock.once(0);
    setup.settled().await;

    // Switched to read-only again, edits and deletes of both sides gather; a service says so and carries none of them.
    setup.roll_out("bidirectional", json!({"mode": "read_only"}));
    setup.source.execute("UPDATE customers SET city = 'Bonn' WHERE id = 1; DELETE FROM customers WHERE id = 2").await;
    setup
        .target
        .execute("UPDATE clients SET phone = '5' WHERE client_id = 1; DELETE FROM clients WHERE client_id = 4")
        .await;
    only_looks(&setup).await;

    setup.roll_out("bidirectional", json!({"mode": "live"}));
    let all = setup.tidelock.once(0);
    assert_eq!((all.number("written_source"), all.number("written_target")), (2, 2), "{}", all.lines[0]);
    setup.settled().await;
    assert_eq!(setup.ids().await.0, BTreeSet::from([1, 3]));
}

/// A service and a repair that must leave both sides alone.
async fn only_looks(setup: &Setup) {
    let before = setup.contents().await;
    let mut service = setup.tidelock.serve();
    let api = format!("http://{}/api/v1/pairs/customers", service.address().await);
    let told: Value = loop {
        let told: Value = crate::harness::http().get(&api).send().await.unwrap().json().await.unwrap();
        if told["phase"] == "read_only" {
            break told;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let writes = |side: &str| json!([told["would"][side]["updates"], told["would"][side]["deletes"]]);
    assert_eq!((writes("source"), writes("target")), (json!([1, 1]), json!([1, 1])), "{told}");
    service.ready().await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    assert_eq!(setup.contents().await, before);
    assert_eq!(setup.tidelock.run(&["audit", "sync.json", "--repair", "--json"]).code, 1, "a repair would write");
    assert_eq!(setup.contents().await, before);
}

pub async fn a_share_grows_and_nothing_is_lost(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.customers(1..=100).await;
    let at = |percentage: u64| setup.roll_out("bidirectional", json!({"percentage": percentage}));
    at(20);
    let first = setup.tidelock.once(0);
    let few = turns(1..=100, 20);
    assert!(few.len() > 5 && few.len() < 50, "{few:?}");
    assert_eq!(setup.ids().await.1, few);
    assert_eq!(first.number("held"), 100 - few.len() as u64);
    let audit = setup.tidelock.audit(0);
    assert_eq!((audit.number("matching"), audit.number("held")), (few.len() as u64, 100 - few.len() as u64));

    // Both sides of a link are in, or out: records born on the target have the same turns.
    let born = turns(101..=200, 20);
    let rows: Vec<String> = (101..=200).map(|id| format!("({id}, 't{id}')")).collect();
    setup.target.execute(&format!("INSERT INTO clients (client_id, full_name) VALUES {}", rows.join(", "))).await;
    setup.source.execute("UPDATE customers SET city = 'Bonn'").await;
    setup.tidelock.once(0);
    let (source, target) = setup.ids().await;
    assert_eq!(source, (1..=100).chain(born).collect());
    assert_eq!(target, few.iter().copied().chain(101..=200).collect());
    let towns = setup.target.value("SELECT CAST(count(*) AS TEXT) FROM clients WHERE town = 'Bonn'").await;
    assert_eq!(towns.unwrap(), few.len().to_string());
    setup.quiet();

    // It widens: who was in stays in, and what was held back is brought over.
    at(60);
    setup.tidelock.once(0);
    let many = turns(1..=200, 60);
    assert!(few.is_subset(&many));
    let (source, target) = setup.ids().await;
    assert_eq!(source, (1..=100).chain(turns(101..=200, 60)).collect());
    assert_eq!(target, turns(1..=100, 60).into_iter().chain(101..=200).collect());

    narrowed_and_whole(&setup, &many).await;
}

async fn narrowed_and_whole(setup: &Setup, many: &BTreeSet<u32>) {
    let at = |percentage: u64| setup.roll_out("bidirectional", json!({"percentage": percentage}));
    // It narrows: what falls out is left alone on both sides, deletes too, until it has its turn again.
    at(10);
    setup.tidelock.once(0);
    let out = *many.difference(&turns(1..=200, 10)).next().unwrap();
    let gone = *many.difference(&turns(1..=200, 10)).nth(1).unwrap();
    setup
        .source
        .execute(&format!("UPDATE customers SET phone = 's' WHERE id = {out}; DELETE FROM customers WHERE id = {gone}"))
        .await;
    setup.target.execute(&format!("UPDATE clients SET town = 't' WHERE client_id = {out}")).await;
    let before = setup.contents().await;
    setup.tidelock.once(0);
    assert_eq!(setup.contents().await, before);
    at(100);
    setup.tidelock.once(0);
    setup.settled().await;
    let both = setup.source.rows(&format!("SELECT phone, city FROM customers WHERE id = {out}")).await;
    assert_eq!(both, [[Some("s".to_owned()), Some("t".to_owned())]], "edits of both sides survive");
    assert!(!setup.ids().await.1.contains(&gone));
}

pub async fn a_copy_remembers_held_deletes(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.customers(1..=40).await;
    let at = |percentage: u64| setup.roll_out("one_way", json!({"percentage": percentage}));
    at(100);
    setup.tidelock.once(0);
    at(30);
    setup.tidelock.once(0);
    setup.source.execute("DELETE FROM customers WHERE id <= 20").await;
    let narrow = setup.tidelock.once(0);
    assert_eq!(narrow.number("held"), 20 - turns(1..=20, 30).len() as u64);
    let left = |percentage: u64| {
        (1..=40).filter(|id| *id > 20 || !has_turn(&id.to_string(), percentage)).collect::<BTreeSet<u32>>()
    };
    assert_eq!(setup.ids().await.1, left(30));
    // One that comes back while it is held back is not deleted later.
    let back = *left(30).first().unwrap();
    setup.customers([back]).await;
    setup.tidelock.once(0);
    at(70);
    setup.tidelock.once(0);
    assert_eq!(setup.ids().await.1, left(70).into_iter().chain([back]).collect());
    at(100);
    setup.tidelock.once(0);
    setup.settled().await;
    assert_eq!(setup.ids().await.1, (21..=40).chain([back]).collect());
}

pub async fn a_filter_lets_some_through(kinds: (Kind, Kind)) {
    for sync_type in ["bidirectional", "one_way"] {
        let setup = Setup::new(kinds).await;
        setup.tables().await;
        setup.customers(1..=6).await;
        setup.source.execute("UPDATE customers SET city = CASE WHEN id <= 3 THEN 'Bonn' ELSE 'Celle' END").await;
        let filter = json!({"filter": {"source": "city = 'Bonn'", "target": "town = 'Bonn'"}});
        setup.roll_out(sync_type, filter);
        assert_eq!(setup.tidelock.once(0).number("held"), 3);
        assert_eq!(setup.ids().await.1, BTreeSet::from([1, 2, 3]));
        // One comes in by an edit, one is deleted, one leaves: its last edit is still carried over, later ones are not.
        setup
            .source
            .execute("UPDATE customers SET city = 'Bonn' WHERE id = 4; DELETE FROM customers WHERE id IN (1, 5); UPDATE customers SET city = 'Ulm' WHERE id = 2")
            .await;
        setup.tidelock.once(0);
        assert_eq!(setup.ids().await.1, BTreeSet::from([2, 3, 4]));
        let town = "SELECT town FROM clients WHERE client_id = 2";
        if sync_type == "bidirectional" {
            assert_eq!(setup.target.value(town).await.as_deref(), Some("Ulm"));
        }
        setup.source.execute("UPDATE customers SET name = 'late', city = 'Trier' WHERE id = 2").await;
        setup.tidelock.once(0);
        assert_ne!(setup.target.value(town).await.as_deref(), Some("Trier"));
        setup.roll_out(sync_type, json!({}));
        setup.tidelock.once(0);
        setup.settled().await;
        assert_eq!(setup.ids().await.1, BTreeSet::from([2, 3, 4, 6]));
    }
}
