//! The process dies, at every durable step and at random moments under load, with Salesforce (the sandbox) on one side: nothing lost, doubled or
//! looping (I11). What must be there in the end is kept by the test itself. Creates carry names of ours (`external_id`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Kind;
use super::crash::{crashes, dies_at, is_of_a_load, moment_ms};
use super::salesforce::World;

/// Random kills.
const KILLS: u64 = 8;

/// Industry by name, of every account that must be on both sides.
type Model = BTreeMap<String, Option<String>>;

async fn world(kind: Kind) -> World {
    let world = World::new(kind, Value::Null).await;
    world.configure(json!({
        "source": world.sandbox.endpoint("Account", &json!({"external_id": "Tidelock_Id__c"})),
        "performance_settings": {"batch_size": 2},
        "conflict_resolution": {"strategy": "system_priority", "priority_system": "crm"},
        "sync_settings": {"sync_type": "bidirectional", "ongoing_sync": {"mode": "real_time", "polling_interval_seconds": 0.05}},
    }));
    world
}

/// What people do in the org, who know their accounts by name.
async fn edit_org(world: &World, name: &str, industry: Option<&str>) {
    let found = world.sandbox.rows(&format!("SELECT Id FROM Account WHERE Name = '{name}'")).await;
    if let Some(id) = found.first().and_then(|row| row[0].as_ref()) {
        world.sandbox.edit("Account", id, json!({"Industry": industry})).await;
    }
}

async fn delete_in_org(world: &World, name: &str) {
    for row in world.sandbox.rows(&format!("SELECT Id FROM Account WHERE Name = '{name}'")).await {
        world.sandbox.delete("Account", row[0].as_ref().unwrap(), false).await;
    }
}

async fn edit_both_sides(world: &World, model: &mut Model, round: usize) {
    let industry = format!("s{round}");
    for name in [format!("s{round}"), format!("s{round} stays")] {
        world.create(&name).await;
        model.insert(name, None);
    }
    edit_org(world, "both", Some(&industry)).await;
    model.insert("both".to_owned(), Some(industry));
    let mut sql = format!(
        "INSERT INTO accounts (account_name, industry_type) VALUES ('t{round}', '{round}'), ('t{round} stays', NULL);
         UPDATE accounts SET industry_type = 't{round}' WHERE account_name = 'both';"
    );
    model.insert(format!("t{round}"), Some(round.to_string()));
    model.insert(format!("t{round} stays"), None);
    if let Some(before) = round.checked_sub(1) {
        delete_in_org(world, &format!("s{before}")).await;
        sql.push_str(&format!("DELETE FROM accounts WHERE account_name = 't{before}';"));
        for side in ["s", "t"] {
            model.remove(&format!("{side}{before}"));
        }
    }
    world.database.execute(&sql).await;
}

/// Both sides by name.
async fn models(world: &World) -> (Model, Model) {
    let (theirs, ours) = world.accounts().await;
    let model = |accounts: super::salesforce::Accounts| {
        accounts.into_iter().map(|(name, (industry, _))| (name, industry)).collect::<Model>()
    };
    (model(theirs), model(ours))
}

pub async fn at_every_durable_step(kind: Kind) {
    let world = world(kind).await;
    world.create("both").await;
    world.tidelock.once(0);
    let mut model = Model::from([("both".to_owned(), None)]);
    for (round, (point, armed)) in crashes().enumerate() {
        edit_both_sides(&world, &mut model, round).await;
        if is_of_a_load(point) {
            assert_eq!(world.tidelock.run(&["resync", "accounts"]).code, 0);
        }
        dies_at(&world.tidelock, &armed);
        world.tidelock.once(0);
        let (theirs, ours) = models(&world).await;
        assert_eq!(theirs, model, "the org after {armed}");
        assert_eq!(ours, model, "the database after {armed}");
    }
    world.settled(model.len()).await;
}

pub async fn during_ongoing_sync(kind: Kind) {
    let world = world(kind).await;
    for name in ["s", "t", "both"] {
        world.create(name).await;
    }
    world.tidelock.once(0);
    let (mut model, mut step) = (Model::new(), 0);
    for round in 0..KILLS {
        let mut service = world.tidelock.serve();
        service.address().await;
        let end = tokio::time::Instant::now() + Duration::from_millis(100 + moment_ms(round, 400));
        while tokio::time::Instant::now() < end {
            edit_live(&world, &mut model, step).await;
            step += 1;
        }
        service.kill();
    }
    world.tidelock.once(0);
    let (mut theirs, mut ours) = models(&world).await;
    // Of the account that both sides edited at the same time, an edit of one of them is left, the same on both.
    let both = (theirs.remove("both").flatten(), ours.remove("both").flatten());
    assert_eq!(both.0, both.1);
    assert!(both.0.is_some_and(|left| left.starts_with(['s', 't'])), "nobody's value");
    assert_eq!(theirs, model, "lost, doubled or risen from the dead in the org");
    assert_eq!(ours, model, "lost, doubled or risen from the dead in the database");
    world.settled(model.len() + 1).await;
}

/// One step of both sides' people while the service runs: births, deaths, edits of accounts of their own and of the same one.
async fn edit_live(world: &World, model: &mut Model, step: u64) {
    let industry = |side: &str| Some(format!("{side}{step}"));
    world.create(&format!("s{step}")).await;
    edit_org(world, "s", industry("s").as_deref()).await;
    edit_org(world, "both", industry("s").as_deref()).await;
    let mut sql = format!(
        "INSERT INTO accounts (account_name) VALUES ('t{step}');
         UPDATE accounts SET industry_type = 't{step}' WHERE account_name IN ('t', 'both');"
    );
    for side in ["s", "t"] {
        model.insert(format!("{side}{step}"), None);
        model.insert(side.to_owned(), industry(side));
    }
    if let Some(dies) = step.checked_sub(3).filter(|step| step % 3 != 0) {
        delete_in_org(world, &format!("s{dies}")).await;
        sql.push_str(&format!("DELETE FROM accounts WHERE account_name = 't{dies}';"));
        for side in ["s", "t"] {
            model.remove(&format!("{side}{dies}"));
        }
    }
    world.database.execute(&sql).await;
}
