//! The article's own case on PostgreSQL: its snippets as they are written, the example in one command, and ten thousand accounts with faults.

use serde_json::{Value, json};

use crate::harness::sandbox::Sandbox;
use crate::harness::{Database, Tidelock};
use crate::scenarios::salesforce::until_through;
use crate::scenarios::salesforce_cdc::by_events;

fn seed(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("tests/config/seed/{name}.json")).unwrap()).unwrap()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

async fn accounts_table() -> Database {
    let database = Database::postgres().await;
    database.execute(&std::fs::read_to_string("examples/salesforce-postgres/accounts.sql").unwrap()).await;
    database
}

fn url(database: &Database) -> &str {
    let Database::Postgres { url, .. } = database else { panic!("it is one") };
    url
}

/// The article's snippets in one, and what it leaves to a dialogue: who logs in, and where its example's hosts really are.
fn the_articles(sandbox: &Sandbox, database: &Database) -> Value {
    let mut config = json!({});
    for name in ["13-connection", "14-field-mappings-options", "15-sync-settings", "16-error-handling-monitoring"] {
        merge(&mut config, seed(name));
    }
    merge(&mut config, json!({"source": {"credentials": sandbox.endpoint("Account", &Value::Null)["credentials"]}}));
    config["target"]["credentials"] = json!({"url": url(database)});
    config
}

#[tokio::test]
async fn the_articles_snippets_work_as_written() {
    let tidelock = Tidelock::new();
    let sandbox = Sandbox::start(&tidelock, &[]).await;
    let database = accounts_table().await;
    tidelock.configure(&the_articles(&sandbox, &database));
    let checked = tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    assert_eq!(checked.code, 0, "{:?}{}", checked.lines, checked.errors);
    let told = checked.lines.iter().map(Value::to_string).collect::<String>();
    assert!(told.contains("mapping.read_only_field"), "LastModifiedDate flows one way, and that is told: {told}");

    let count = sandbox.count("Account").await;
    database.execute("INSERT INTO accounts (account_name, annual_revenue) VALUES ('Born here', 5)").await;
    tidelock.once(0);
    assert_eq!(sandbox.count("Account").await, count + 1);
    database.execute("UPDATE accounts SET industry_type = 'Energy' WHERE account_name = 'Born here'").await;
    tidelock.once(0);
    // Its time was changed by our own write, and is told all the same.
    let time =
        "SELECT to_char(last_modified, 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM accounts WHERE account_name = 'Born here'";
    let theirs = sandbox.rows("SELECT LastModifiedDate FROM Account WHERE Name = 'Born here'").await[0][0].clone();
    assert_eq!(database.value(time).await, theirs.map(|time| time.trim_end_matches(".000+0000").to_owned()));
    let theirs = sandbox.rows("SELECT Id, Name, Industry FROM Account").await;
    let ours = database.rows("SELECT sf_id, account_name, industry_type FROM accounts").await;
    let sorted = |mut rows: Vec<Vec<Option<String>>>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(theirs), sorted(ours));
    let stamped = "SELECT count(last_modified)::text FROM accounts";
    assert_eq!(database.value(stamped).await, Some((count + 1).to_string()), "LastModifiedDate is carried over");
    let again = tidelock.once(0);
    assert_eq!((again.number("written_source"), again.number("written_target")), (0, 0), "{}", again.lines[0]);
    tidelock.audit(0);
}

/// The same in real time, both ways, while both sides edit and the org's events are cut, late, or missing.
#[tokio::test]
async fn the_articles_snippets_by_change_events_with_faults() {
    let tidelock = Tidelock::new();
    let sandbox = Sandbox::start(&tidelock, &[]).await;
    sandbox.beside("PUT", "keepalive", &json!({"ms": 100})).await;
    let database = accounts_table().await;
    let mut config = the_articles(&sandbox, &database);
    merge(&mut config, by_events());
    merge(
        &mut config,
        json!({"delete_guard": false, "error_handling": {"retry_strategy": {"max_attempts": 0, "initial_delay_seconds": 0.01, "max_delay_seconds": 0.1}}}),
    );
    tidelock.configure(&config);
    let mut service = tidelock.serve();
    service.ready().await;
    let count = sandbox.count("Account").await;
    database.await_value("SELECT count(sf_id)::text FROM accounts", &count.to_string()).await;
    let ids = sandbox.rows("SELECT Id, Name FROM Account ORDER BY Id").await;
    let id = |place: usize| ids[place][0].as_ref().unwrap();
    let here = async |place: usize, industry: &str| {
        let select = format!("SELECT industry_type FROM accounts WHERE sf_id = '{}'", id(place));
        database.await_value(&select, industry).await;
    };
    let mut times = Vec::new();
    for round in 0..10 {
        let begin = std::time::Instant::now();
        sandbox.edit("Account", id(0), json!({"Industry": format!("I{round}")})).await;
        here(0, &format!("I{round}")).await;
        times.push(begin.elapsed());
    }
    times.sort();
    eprintln!("from an edit in the org to PostgreSQL, by change events: median {:?}, worst {:?}", times[5], times[9]);
    assert!(times[5] < std::time::Duration::from_secs(1), "{times:?}");
    sandbox
        .script(json!({"seed": 5, "rules": [
            {"method": "EVENT", "probability": 0.1, "fault": "connection_reset"}, {"method": "EVENT", "probability": 0.05, "fault": "session_expired"},
            {"method": "EVENT", "probability": 0.1, "fault": {"delay": {"ms": 20}}}, {"method": "PUBLISH", "probability": 0.2, "fault": "gap_event"},
            {"method": "PUBLISH", "probability": 0.05, "fault": "overflow_event"},
            {"method": "RPC", "path": "Subscribe", "probability": 0.1, "fault": "corrupted_replay"},
            {"path": "/composite/sobjects", "probability": 0.05, "fault": "lost_response"},
            {"path": "/query", "probability": 0.05, "fault": "connection_reset"},
        ]}))
        .await;
    for round in 0..30 {
        let place = round % (ids.len() - 2);
        sandbox.edit("Account", id(place), json!({"Industry": format!("R{round}")})).await;
        database.execute(&format!("UPDATE accounts SET annual_revenue = {round} WHERE sf_id = '{}'", id(place))).await;
        if round % 10 == 5 {
            sandbox.create("Account", json!({"Name": format!("Born there {round}")})).await;
            database.execute(&format!("INSERT INTO accounts (account_name) VALUES ('Born here {round}')")).await;
        }
    }
    sandbox.delete("Account", id(ids.len() - 1), false).await;
    database.execute(&format!("DELETE FROM accounts WHERE sf_id = '{}'", id(ids.len() - 2))).await;
    let expected = count + 3 + 3 - 2;
    database.await_value("SELECT count(sf_id)::text FROM accounts", &expected.to_string()).await;
    here(29 % (ids.len() - 2), "R29").await;
    sandbox.script(json!({"rules": []})).await;
    sandbox.edit("Account", id(1), json!({"Industry": "Last"})).await;
    here(1, "Last").await;
    // Both are at rest: it goes on hearing that the stream lives, and writes nothing.
    let begin = std::time::Instant::now();
    let rows = async || {
        let mut rows =
            database.rows("SELECT sf_id, account_name, industry_type, trunc(annual_revenue)::text FROM accounts").await;
        rows.sort();
        rows
    };
    let theirs = async || {
        let rows = sandbox.rows("SELECT Id, Name, Industry, AnnualRevenue FROM Account ORDER BY Id").await;
        let whole = |text: String| text.trim_end_matches(".0").to_owned();
        let row = |mut row: Vec<Option<String>>| {
            row[3] = row[3].take().map(whole);
            row
        };
        rows.into_iter().map(row).collect::<Vec<_>>()
    };
    while rows().await != theirs().await {
        assert!(begin.elapsed().as_secs() < 60, "{:?}\n{:?}\n{}", rows().await, theirs().await, service.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(sandbox.count("Account").await, expected, "nothing is doubled");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    sandbox.beside("DELETE", "journal", &Value::Null).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(sandbox.requests().await, (0, 0), "{}", service.log());
    assert_eq!(service.stop(), 0, "{}", service.log());
    let audit = tidelock.audit(0);
    assert_eq!(audit.number("matching"), expected, "{}", audit.lines[0]);
}

#[tokio::test]
async fn the_example_runs_in_one_command() {
    let database = accounts_table().await;
    let mut command = std::process::Command::new("examples/salesforce-postgres/try.sh");
    let ran =
        command.env("DATABASE_URL", url(&database)).env("TIDELOCK", env!("CARGO_BIN_EXE_tidelock")).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let count: u64 = database.value("SELECT count(sf_id)::text FROM accounts").await.unwrap().parse().unwrap();
    assert!(count > 5, "{count}: {said}");
}

#[tokio::test]
async fn init_maps_the_articles_table() {
    let tidelock = Tidelock::new();
    let sandbox = Sandbox::start(&tidelock, &[]).await;
    let database = accounts_table().await;
    let variables = [
        ("SALESFORCE_INSTANCE_URL", sandbox.said["url"].as_str().unwrap()),
        ("SALESFORCE_CLIENT_ID", sandbox.said["client_id"].as_str().unwrap()),
        ("SALESFORCE_CLIENT_SECRET", sandbox.said["client_secret"].as_str().unwrap()),
        ("DATABASE_URL", url(&database)),
    ];
    let run = |arguments: &[&str]| {
        let ran = tidelock.command(arguments).envs(variables).output().unwrap();
        assert!(
            ran.status.success(),
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
    };
    run(&["init", "salesforce:Account", "postgres:accounts"]);
    let text = std::fs::read_to_string(tidelock.folder.path().join("sync.json")).unwrap();
    let made: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made["key"], json!({"source": "Id", "target": "sf_id"}));
    let expected = [
        json!({"source": "Name", "target": "account_name"}),
        json!({"source": "Industry", "target": "industry_type"}),
        json!({"source": "AnnualRevenue", "target": "annual_revenue"}),
        json!({"source": "LastModifiedDate", "target": "last_modified", "direction": "source_to_target"}),
    ];
    assert_eq!(made["field_mappings"], json!(expected));
    assert!(!text.contains("sandbox-secret"), "no secret stands in it");
    run(&["check", "sync.json", "--connect"]);
    run(&["run", "sync.json", "--once"]);
    assert_eq!(
        database.value("SELECT count(sf_id)::text FROM accounts").await,
        Some(sandbox.count("Account").await.to_string())
    );
}

const ACCOUNTS: usize = 10_000;
const EDITS: usize = 1_000;

/// Half of them begin in the org, half in the database. What must be there in the end is kept by the test.
#[tokio::test]
async fn ten_thousand_accounts_with_faults_converge() {
    let tidelock = Tidelock::new();
    let csv: String = (0..ACCOUNTS / 2).map(|number| format!("A{number},{number}\n")).collect();
    let file = tidelock.folder.path().join("seed.csv");
    std::fs::write(&file, format!("Name,AccountNumber\n{csv}")).unwrap();
    let sandbox = Sandbox::start(&tidelock, &["--seed", file.to_str().unwrap()]).await;
    let database = accounts_table().await;
    database
        .execute(&format!(
            "INSERT INTO accounts (account_name) SELECT 'B' || n FROM generate_series(0, {}) n",
            ACCOUNTS / 2 - 1
        ))
        .await;
    tidelock.configure(&json!({
        "connection_name": "accounts", "source": sandbox.endpoint("Account", &json!({"external_id": "Tidelock_Id__c", "bulk_threshold": 0})),
        "target": database.endpoint("erp", "accounts"), "sync_type": "bidirectional", "delete_guard": false,
        "conflict_resolution": {"strategy": "system_priority", "priority_system": "crm"},
        "field_mappings": [{"source": "Id", "target": "sf_id"}, {"source": "Name", "target": "account_name"},
            {"source": "Industry", "target": "industry_type"}, {"source": "AnnualRevenue", "target": "annual_revenue"}],
        "error_handling": {"retry_strategy": {"max_attempts": 0, "initial_delay_seconds": 0.01, "max_delay_seconds": 0.1}},
    }));
    let faults = json!({"seed": 11, "rules": [
        {"path": "/composite/sobjects", "probability": 0.05, "fault": "lost_response"},
        {"path": "/composite/sobjects", "method": "PATCH", "probability": 0.1, "fault": {"locked_row": {"share": 0.05}}},
        {"path": "/query", "probability": 0.05, "fault": "connection_reset"},
        {"path": "/services/data", "probability": 0.02, "fault": "session_expired"},
        {"path": "/services/data", "probability": 0.02, "fault": "unavailable"},
        {"path": "/query", "fault": {"short_page": {"records": 700}}},
    ]});
    sandbox.script(faults.clone()).await;
    sandbox.beside("DELETE", "journal", &Value::Null).await;
    let runs = until_through(&tidelock);
    let (asked, wrote) = sandbox.requests().await;
    // 25 creates of 200; 8 pages of 700 for the load and 15 for the pass behind it.
    eprintln!(
        "initial load with faults: {asked} requests, {wrote} of them writes, in {runs} runs; the least possible: 25 writes"
    );
    assert_eq!(sandbox.count("Account").await, ACCOUNTS as u64);

    let ids = sandbox.rows(&format!("SELECT Id, Name FROM Account ORDER BY Name LIMIT {}", EDITS)).await;
    for (place, row) in ids.iter().enumerate() {
        let id = row[0].as_ref().unwrap();
        if place % 20 == 0 {
            sandbox.delete("Account", id, false).await;
        } else {
            sandbox.edit("Account", id, json!({"Industry": "Banking"})).await;
        }
    }
    let own = format!(
        "(SELECT account_name FROM accounts WHERE account_name LIKE 'B%' ORDER BY account_name LIMIT {})",
        EDITS - 100
    );
    let both: Vec<String> = ids.iter().skip(1).take(100).map(|row| format!("'{}'", row[1].as_ref().unwrap())).collect();
    database
        .execute(&format!(
            "UPDATE accounts SET annual_revenue = 7 WHERE account_name IN {own};
             UPDATE accounts SET industry_type = 'Retail' WHERE account_name IN ({});
             DELETE FROM accounts WHERE account_name IN (SELECT account_name FROM accounts WHERE account_name LIKE 'B%' ORDER BY account_name DESC LIMIT 50)",
            both.join(", ")
        ))
        .await;
    sandbox.script(faults).await;
    sandbox.beside("DELETE", "journal", &Value::Null).await;
    let runs = until_through(&tidelock);
    let (asked, wrote) = sandbox.requests().await;
    eprintln!(
        "1,000 edits a side with faults: {asked} requests, {wrote} of them writes, in {runs} runs; the least possible: 6 writes"
    );

    sandbox.script(json!({"rules": []})).await;
    let theirs = sandbox.rows("SELECT Id, Name, Industry FROM Account ORDER BY Id").await;
    let mut ours = database.rows("SELECT sf_id, account_name, industry_type FROM accounts").await;
    ours.sort();
    assert_eq!(theirs.len(), ACCOUNTS - 50 - 50);
    assert!(theirs == ours, "both sides are equal");
    let names: std::collections::BTreeSet<_> = theirs.iter().map(|row| &row[1]).collect();
    assert_eq!(names.len(), theirs.len(), "no account is doubled");
    let audit = tidelock.audit(0);
    assert_eq!(audit.number("matching"), theirs.len() as u64, "{}", audit.lines[0]);
    sandbox.beside("DELETE", "journal", &Value::Null).await;
    let again = tidelock.once(0);
    assert_eq!((again.number("written_source"), again.number("written_target")), (0, 0), "{}", again.lines[0]);
    assert_eq!(sandbox.requests().await.1, 0);
}
