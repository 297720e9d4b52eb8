//! Field-level security: what the user may not see or write is said before anything runs, and a right that is lost later stops the pair and
//! empties nothing.

use serde_json::{Value, json};

use super::Kind;
use super::salesforce::{World, said};

pub async fn a_refresh_token_that_is_replaced_is_kept(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let file = world.tidelock.folder.path().join("org.token");
    let mut endpoint = world.sandbox.endpoint("Account", &Value::Null);
    let text = |name: &str| world.sandbox.said[name].clone();
    endpoint["credentials"] = json!({"instance_url": text("url"), "client_id": text("client_id"),
        "refresh_token": text("refresh_token"), "refresh_token_file": "org.token"});
    world.configure(json!({"source": endpoint}));
    world.sandbox.beside("POST", "sessions/rotate", &Value::Null).await;
    world.create("Acme").await;
    for used in 1..=2 {
        world.tidelock.once(0);
        assert!(file.exists(), "use {used}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else may read it");
    world.settled(1).await;
    // Without it the replaced token is all that there is.
    std::fs::remove_file(&file).unwrap();
    let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert!(ran.code != 0 && said(&ran).contains("salesforce.login"), "{}", said(&ran));
}

async fn permit(world: &World, account: Value) {
    world.sandbox.beside("PUT", "permissions", &json!({"Account": account})).await;
}

pub async fn a_hidden_field_is_told_before_anything_runs(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    permit(&world, json!({"hidden": ["Industry"]})).await;
    let checked = world.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    let text = said(&checked);
    assert_eq!(checked.code, 2, "{text}");
    assert!(text.contains("mapping.unknown_field") && text.contains("/field_mappings/2"), "which mapping: {text}");
    assert!(text.contains("has no column \\\"Industry\\\""), "what: {text}");
    permit(&world, json!({"read_only": ["AnnualRevenue"]})).await;
    let checked = world.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    let text = said(&checked);
    assert!(checked.code == 0 && text.contains("mapping.read_only_field") && text.contains("AnnualRevenue"), "{text}");
    permit(&world, json!({"read": false})).await;
    let text = said(&world.tidelock.run(&["check", "sync.json", "--connect", "--json"]));
    assert!(text.contains("salesforce.no_object"), "{text}");
}

pub async fn what_creates_lack_is_told_before_anything_runs(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let check = |more: Value| {
        world.configure(json!({"source": world.sandbox.endpoint("Account", &more)}));
        let checked = world.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
        (checked.code, said(&checked))
    };
    let (code, text) = check(Value::Null);
    assert!(code == 0 && text.contains("creates.advice") && text.contains("external_id"), "{code}: {text}");
    let (code, text) = check(json!({"external_id": "Tidelock_Id__c"}));
    assert!(code == 0 && !text.contains("creates.advice"), "{code}: {text}");
    let (code, text) = check(json!({"external_id": "Industry"}));
    assert!(code == 2 && text.contains("salesforce.external_id") && text.contains("Industry"), "{code}: {text}");
    let (code, text) = check(json!({"external_id": "Tidelok_Id__c"}));
    assert!(code == 2 && text.contains("salesforce.no_field"), "{code}: {text}");
}

pub async fn a_field_that_is_hidden_later_stops_the_pair_and_empties_nothing(kind: Kind) {
    let more = json!({"sync_settings": {"sync_type": "bidirectional", "ongoing_sync": {"mode": "real_time", "polling_interval_seconds": 0.05}}});
    let world = World::new(kind, more).await;
    let id = world.sandbox.create("Account", json!({"Name": "Acme", "Industry": "Energy"})).await;
    world.insert(&["Globex"]).await;
    let service = world.tidelock.serve();
    service.ready().await;
    world.database.await_value("SELECT CAST(count(sf_id) AS TEXT) FROM accounts", "2").await;
    permit(&world, json!({"hidden": ["Industry"]})).await;
    let begin = std::time::Instant::now();
    while !service.log().contains("salesforce.field_lost") {
        assert!(begin.elapsed().as_secs() < 60, "it goes on: {}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    world.sandbox.edit("Account", &id, json!({"Name": "Acme & Sons"})).await;
    world.database.execute("UPDATE accounts SET industry_type = 'Retail' WHERE account_name = 'Globex'").await;
    // A start does not come further, either.
    drop(service);
    let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert!(ran.code != 0 && said(&ran).contains("Industry"), "{}: {}", ran.code, said(&ran));
    let ours = "SELECT industry_type FROM accounts WHERE account_name = 'Acme'";
    assert_eq!(world.database.value(ours).await.as_deref(), Some("Energy"), "nothing is emptied here …");
    let theirs = world.sandbox.count("Account").await;
    permit(&world, json!({})).await;
    world.tidelock.once(0);
    world.settled(2).await;
    assert_eq!(theirs, 2);
    let (theirs, _) = world.accounts().await;
    let industry = |name: &str| theirs[name].0.as_deref();
    assert_eq!((industry("Acme & Sons"), industry("Globex")), (Some("Energy"), Some("Retail")), "… nor there");
}

pub async fn rights_that_are_lost_while_it_writes_stop_the_pair(kind: Kind) {
    for (threshold, rights, code) in [
        (0, json!({"read_only": ["Industry"]}), "INVALID_FIELD_FOR_INSERT_UPDATE (Industry)"),
        (0, json!({"create": false}), "INSUFFICIENT_ACCESS_OR_READONLY"),
        (5, json!({"create": false}), "INSUFFICIENT_ACCESS_OR_READONLY"),
    ] {
        let more = json!({"sync_settings": {"sync_type": "bidirectional", "ongoing_sync": {"mode": "real_time", "polling_interval_seconds": 0.05}}});
        let world = World::new(kind, more).await;
        let endpoint =
            world.sandbox.endpoint("Account", &json!({"external_id": "Tidelock_Id__c", "bulk_threshold": threshold}));
        world.configure(json!({"source": endpoint}));
        let service = world.tidelock.serve();
        service.ready().await;
        permit(&world, rights).await;
        let names: Vec<String> = (0..8).map(|number| format!("('Account {number}', 'Energy')")).collect();
        let insert = format!("INSERT INTO accounts (account_name, industry_type) VALUES {}", names.join(", "));
        world.database.execute(&insert).await;
        let begin = std::time::Instant::now();
        while !service.log().contains("salesforce.right_lost") {
            assert!(begin.elapsed().as_secs() < 60, "it goes on: {}", service.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(service.log().contains(code), "{code}: {}", service.log());
        drop(service);
        permit(&world, json!({})).await;
        // Nobody has to look at records for what was never about them.
        let ran = world.tidelock.once(0);
        assert_eq!((ran.number("written_source"), ran.number("reviews")), (8, 0), "{}", ran.lines[0]);
        world.settled(8).await;
    }
}
