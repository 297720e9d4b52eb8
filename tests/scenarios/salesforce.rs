//! Salesforce, as the sandbox plays it, ↔ a database: what the article begins with. The sandbox's own records and journal are the oracle.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Kind;
use crate::harness::sandbox::Sandbox;
use crate::harness::{Database, Tidelock};

/// A sandbox, a database with the article's table, and a folder.
pub(super) struct World {
    pub(super) sandbox: Sandbox,
    pub(super) database: Database,
    pub(super) tidelock: Tidelock,
}

/// By account name: industry and revenue.
pub(super) type Accounts = BTreeMap<String, (Option<String>, Option<String>)>;

impl World {
    /// Both empty; the configuration with more keys merged in.
    pub(super) async fn new(kind: Kind, more: Value) -> Self {
        let tidelock = Tidelock::new();
        let sandbox = Sandbox::start(&tidelock, &["--empty"]).await;
        let database = kind.open(tidelock.folder.path(), "erp.db").await;
        database
            .execute(&format!(
                "CREATE TABLE accounts (id {}, sf_id VARCHAR(18) UNIQUE, account_name VARCHAR(255), industry_type VARCHAR(100),
                 annual_revenue DECIMAL(18,2), last_modified TIMESTAMP)",
                kind.generated_key()
            ))
            .await;
        let world = Self { sandbox, database, tidelock };
        world.configure(more);
        world
    }

    pub(super) fn configure(&self, more: Value) {
        let mut config = json!({
            "connection_name": "accounts",
            "source": self.sandbox.endpoint("Account", &Value::Null),
            "target": self.database.endpoint("erp", "accounts"),
            "sync_type": "bidirectional",
            "delete_guard": false,
            "field_mappings": [
                {"source": "Id", "target": "sf_id"},
                {"source": "Name", "target": "account_name"},
                {"source": "Industry", "target": "industry_type"},
                {"source": "AnnualRevenue", "target": "annual_revenue"},
            ],
            "error_handling": {"retry_strategy": {"max_attempts": 0, "initial_delay_seconds": 0.01, "max_delay_seconds": 0.05}},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        self.tidelock.configure(&config);
    }

    pub(super) async fn insert(&self, names: &[&str]) {
        let rows: Vec<String> = names.iter().map(|name| format!("('{}')", name.replace('\'', "''"))).collect();
        self.database.execute(&format!("INSERT INTO accounts (account_name) VALUES {}", rows.join(", "))).await;
    }

    pub(super) async fn create(&self, name: &str) -> String {
        self.sandbox.create("Account", json!({"Name": name})).await
    }

    /// Both sides by name. A name that is there twice is a record that was doubled.
    pub(super) async fn accounts(&self) -> (Accounts, Accounts) {
        let map = |rows: Vec<Vec<Option<String>>>| {
            let count = rows.len();
            let number = |text: &Option<String>| text.as_ref().map(|text| text.parse::<f64>().unwrap().to_string());
            let map: Accounts =
                rows.into_iter().map(|row| (row[0].clone().unwrap(), (row[1].clone(), number(&row[2])))).collect();
            assert_eq!(map.len(), count, "doubled: {map:?}");
            map
        };
        let theirs = self.sandbox.rows("SELECT Name, Industry, AnnualRevenue FROM Account").await;
        let ours = "SELECT account_name, industry_type, CAST(annual_revenue AS TEXT) FROM accounts";
        (map(theirs), map(self.database.rows(ours).await))
    }

    /// Both sides are equal, every id is written back, the audit agrees, and one more run writes nothing anywhere.
    pub(super) async fn settled(&self, count: usize) {
        let (theirs, ours) = self.accounts().await;
        assert_eq!(theirs, ours);
        assert_eq!(theirs.len(), count, "{theirs:?}");
        self.ids_agree().await;
        let audit = self.tidelock.audit(0);
        assert_eq!(audit.number("matching"), count as u64, "{}", audit.lines[0]);
        self.quiet().await;
    }

    pub(super) async fn ids_agree(&self) {
        let sort = |mut rows: Vec<Vec<Option<String>>>| {
            rows.sort();
            rows
        };
        let theirs = sort(self.sandbox.rows("SELECT Id, Name FROM Account").await);
        assert_eq!(theirs, sort(self.database.rows("SELECT sf_id, account_name FROM accounts").await));
    }

    pub(super) async fn quiet(&self) {
        self.sandbox.beside("DELETE", "journal", &Value::Null).await;
        let again = self.tidelock.once(0);
        assert_eq!((again.number("written_source"), again.number("written_target")), (0, 0), "{}", again.lines[0]);
        assert_eq!(self.sandbox.requests().await.1, 0, "a request that writes");
    }

    pub(super) async fn faults(&self, rules: Value) {
        self.sandbox.script(json!({"seed": 7, "rules": rules})).await;
    }
}

pub async fn both_sides_are_brought_together(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    for name in ["Acme", "Globex"] {
        world.create(name).await;
    }
    world.insert(&["Initech", "Hooli", "Wayne"]).await;
    let ran = world.tidelock.once(0);
    assert_eq!((ran.number("written_source"), ran.number("reviews")), (3, 0), "{}", ran.lines[0]);
    world.settled(5).await;
}

pub async fn edits_conflicts_and_deletes_converge(kind: Kind) {
    let more = json!({"conflict_resolution": {"strategy": "system_priority", "priority_system": "crm"}});
    let world = World::new(kind, more).await;
    let mut ids = Vec::new();
    for name in ["Wayne", "Acme", "Globex", "Initech", "Hooli"] {
        ids.push(world.create(name).await);
    }
    world.tidelock.once(0);
    let edit = |name: &str, set: &str| format!("UPDATE accounts SET {set} WHERE account_name = '{name}'");
    world.sandbox.edit("Account", &ids[1], json!({"Industry": "Banking"})).await;
    world.database.execute(&edit("Acme", "annual_revenue = 12")).await;
    world.sandbox.edit("Account", &ids[2], json!({"Industry": "Energy"})).await;
    world.database.execute(&edit("Globex", "industry_type = 'Retail'")).await;
    world.sandbox.delete("Account", &ids[3], false).await;
    world.sandbox.delete("Account", &ids[4], true).await;
    world.database.execute("DELETE FROM accounts WHERE account_name = 'Wayne'").await;
    world.create("Umbrella").await;
    let ran = world.tidelock.once(0);
    assert_eq!(ran.number("conflicts"), 1, "{}", ran.lines[0]);
    let (theirs, _) = world.accounts().await;
    assert_eq!(theirs["Acme"], (Some("Banking".to_owned()), Some("12".to_owned())), "edits of both sides");
    assert_eq!(theirs["Globex"].0.as_deref(), Some("Energy"), "the priority's");
    let names: Vec<&str> = theirs.keys().map(String::as_str).collect();
    assert_eq!(names, ["Acme", "Globex", "Umbrella"]);
    // What was deleted for good is told only once its minute is over.
    let hard = world.database.value("SELECT CAST(count(*) AS TEXT) FROM accounts WHERE account_name = 'Hooli'").await;
    if hard.as_deref() == Some("1") {
        world.sandbox.beside("POST", "clock", &json!({"advance_seconds": 120})).await;
        world.tidelock.once(0);
    }
    world.settled(3).await;
}

pub async fn a_copy_goes_by_its_external_id(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let key = json!({"source": "id", "target": "Tidelock_Id__c"});
    world.configure(json!({
        "source": world.database.endpoint("erp", "accounts"),
        "target": world.sandbox.endpoint("Account", &json!({"external_id": "Tidelock_Id__c"})),
        "sync_type": "one_way", "key": key,
        "field_mappings": [{"source": "account_name", "target": "Name"}, {"source": "industry_type", "target": "Industry"}],
    }));
    world.insert(&["Acme", "Globex", "Initech"]).await;
    world.faults(json!([{"path": "/composite/sobjects", "method": "PATCH", "nth": 1, "fault": "lost_response"}])).await;
    let first = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    if first.code != 0 {
        world.tidelock.once(0);
    }
    assert_eq!(world.sandbox.count("Account").await, 3, "nothing is doubled");
    world.database.execute("UPDATE accounts SET industry_type = 'Energy' WHERE account_name = 'Acme'").await;
    world.database.execute("DELETE FROM accounts WHERE account_name = 'Globex'").await;
    world.tidelock.once(0);
    let rows = world.sandbox.rows("SELECT Name, Industry FROM Account ORDER BY Name").await;
    let expected = [["Acme", "Energy"].map(Some), [Some("Initech"), None]]
        .map(|row| row.map(|text| text.map(str::to_owned)).to_vec());
    assert_eq!(rows, expected);
    world.quiet().await;
}

pub async fn refused_records_wait_and_the_others_flow(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    world.insert(&["Acme", "Globex"]).await;
    world.database.execute("INSERT INTO accounts (industry_type) VALUES ('Energy')").await;
    let ran = world.tidelock.once(1);
    assert_eq!((ran.number("written_source"), ran.number("reviews")), (2, 1), "{}", ran.lines[0]);
    let listed = world.tidelock.run(&["review", "list", "--json"]);
    let text = listed.lines.iter().map(Value::to_string).collect::<String>();
    assert!(
        text.contains("salesforce.refused") && text.contains("REQUIRED_FIELD_MISSING (Name)"),
        "{text}{}",
        listed.errors
    );
    world.database.execute("UPDATE accounts SET account_name = 'Hooli' WHERE account_name IS NULL").await;
    world.tidelock.once(0);
    world.settled(3).await;
}

/// All that a command said.
pub(super) fn said(ran: &crate::harness::Ran) -> String {
    ran.lines.iter().map(Value::to_string).collect::<String>() + &ran.errors
}

/// Runs until a run comes through.
pub fn until_through(tidelock: &Tidelock) -> u32 {
    for tries in 1..=20 {
        let ran = tidelock.run(&["run", "sync.json", "--once", "--json"]);
        if ran.code == 0 {
            return tries;
        }
        assert!(said(&ran).contains("[salesforce."), "another failure: {}", said(&ran));
    }
    panic!("20 runs, and none came through");
}

pub async fn lost_answers_make_no_duplicate(kind: Kind) {
    for more in [Value::Null, json!({"external_id": "Tidelock_Id__c"})] {
        let world = World::new(kind, Value::Null).await;
        world.configure(json!({"source": world.sandbox.endpoint("Account", &more)}));
        world.create("Umbrella").await;
        let names: Vec<String> = (0..30).map(|number| format!("Account {number}")).collect();
        world.insert(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        world
            .faults(json!([
                {"path": "/composite/sobjects", "nth": 1, "fault": "lost_response"},
                {"path": "/composite/sobjects", "nth": 3, "fault": "connection_reset"},
                {"path": "/query", "nth": 2, "fault": "dropped_request"},
            ]))
            .await;
        until_through(&world.tidelock);
        world.settled(31).await;
        // Updates and deletes, too.
        world.database.execute("UPDATE accounts SET industry_type = 'Energy' WHERE account_name = 'Account 1'").await;
        world.database.execute("DELETE FROM accounts WHERE account_name = 'Account 2'").await;
        world
            .faults(json!([
                {"method": "PATCH", "path": "/composite/sobjects", "nth": 1, "fault": "lost_response"},
                {"method": "DELETE", "path": "/composite/sobjects", "nth": 1, "fault": "lost_response"},
            ]))
            .await;
        until_through(&world.tidelock);
        world.settled(30).await;
    }
}

pub async fn sessions_limits_and_locks_pass(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    world.insert(&["Acme", "Globex", "Initech", "Hooli"]).await;
    world
        .faults(json!([
            {"path": "/query", "nth": 1, "fault": "session_expired"},
            {"path": "/composite/sobjects", "nth": 1, "fault": "session_expired"},
            {"path": "/composite/sobjects", "method": "POST", "times": 2, "fault": {"locked_row": {"share": 0.5}}},
            {"path": "/query", "nth": 3, "fault": "unavailable"},
        ]))
        .await;
    world.tidelock.once(0);
    world.settled(4).await;
    world.configure(json!({"error_handling": {"retry_strategy": {"max_attempts": 1}}}));
    world.faults(json!([{"path": "/query", "nth": 1, "fault": "request_limit"}])).await;
    let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert!(ran.code == 1 && said(&ran).contains("salesforce.limit"), "{}: {}", ran.code, said(&ran));
    world.faults(json!([])).await;
    world.settled(4).await;
}

pub async fn pages_that_break_off_lose_nothing(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    for number in 0..25 {
        world.create(&format!("Account {number}")).await;
    }
    world
        .faults(json!([
            {"path": "/query", "fault": {"short_page": {"records": 4}}},
            {"path": "/query", "every": 3, "fault": "connection_reset"},
            {"path": "/query", "every": 5, "fault": "expired_locator"},
        ]))
        .await;
    until_through(&world.tidelock);
    world.faults(json!([{"path": "/query", "fault": {"short_page": {"records": 3}}}])).await;
    world.settled(25).await;
}

pub async fn late_commits_are_found(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    world.create("Acme").await;
    world.tidelock.once(0);
    // Stamped before what was read last, and seen after it.
    world
        .faults(json!([{"method": "POST", "path": "/sobjects/Account", "fault": {"late_commit": {"seconds": 30}}}]))
        .await;
    world.sandbox.asked("POST", "sobjects/Account", Some(&json!({"Name": "Globex"}))).await;
    world.faults(json!([])).await;
    world.tidelock.once(0);
    world.settled(2).await;
}

pub async fn purged_deletes_stop_the_pair(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let id = world.create("Acme").await;
    world.create("Globex").await;
    world.tidelock.once(0);
    world.sandbox.delete("Account", &id, true).await;
    world.sandbox.beside("POST", "clock", &json!({"advance_seconds": 600})).await;
    world.sandbox.beside("POST", "deletes/purge", &Value::Null).await;
    let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert!(ran.code == 1 && said(&ran).contains("salesforce.deletes_lost"), "{}: {}", ran.code, said(&ran));
    // Nobody can say that it was deleted, but a comparison in full, which a person asks for.
    let audit = world.tidelock.audit(3);
    assert_eq!(audit.number("missing_in_source"), 1, "{}", audit.lines[0]);
    assert_eq!(world.tidelock.run(&["resync", "accounts"]).code, 0);
    world.tidelock.once(0);
    world.settled(1).await;
}

pub async fn a_crash_after_creating_makes_no_duplicate(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    world.insert(&["Acme", "Globex", "Acme Two"]).await;
    let mut command = world.tidelock.command(&["run", "sync.json", "--once", "--json"]);
    let ran = command.env("TIDELOCK_CRASH_AT", "batch.written_source").output().unwrap();
    assert!(!ran.status.success(), "it was to die");
    assert_eq!(world.sandbox.count("Account").await, 3);
    // Edited since: it is not created anew all the same, and the edit of either side holds.
    let rows = world.sandbox.rows("SELECT Id FROM Account WHERE Name = 'Globex'").await;
    world.sandbox.edit("Account", rows[0][0].as_ref().unwrap(), json!({"Industry": "Energy"})).await;
    world.database.execute("UPDATE accounts SET annual_revenue = 7 WHERE account_name = 'Acme'").await;
    world.tidelock.once(0);
    world.settled(3).await;
    let (theirs, _) = world.accounts().await;
    assert_eq!((theirs["Globex"].0.as_deref(), theirs["Acme"].1.as_deref()), (Some("Energy"), Some("7")));
}

pub async fn at_rest_nothing_is_written(kind: Kind) {
    let more = json!({"sync_settings": {"sync_type": "bidirectional", "ongoing_sync": {"mode": "real_time", "polling_interval_seconds": 0.05}}});
    let world = World::new(kind, more).await;
    world.create("Acme").await;
    world.insert(&["Globex"]).await;
    let mut service = world.tidelock.serve();
    service.ready().await;
    let count = "SELECT CAST(count(sf_id) AS TEXT) FROM accounts";
    world.database.await_value(count, "2").await;
    // An edit of the database is there long before the next poll could tell, and one of the org after it.
    world.database.execute("UPDATE accounts SET industry_type = 'Energy' WHERE account_name = 'Globex'").await;
    let industry = "SELECT Industry FROM Account WHERE Name = 'Globex'";
    let begin = std::time::Instant::now();
    while world.sandbox.rows(industry).await[0][0].as_deref() != Some("Energy") {
        assert!(begin.elapsed().as_secs() < 60, "never: {}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let id = world.sandbox.rows("SELECT Id FROM Account WHERE Name = 'Acme'").await[0][0].clone().unwrap();
    world.sandbox.edit("Account", &id, json!({"Industry": "Banking"})).await;
    world.database.await_value("SELECT industry_type FROM accounts WHERE account_name = 'Acme'", "Banking").await;
    // From here on it only looks, many times.
    world.sandbox.beside("DELETE", "journal", &Value::Null).await;
    let begin = std::time::Instant::now();
    let (polls, writes) = loop {
        let (all, writes) = world.sandbox.requests().await;
        if all >= 20 {
            break (all, writes);
        }
        assert!(begin.elapsed().as_secs() < 60, "only {all} requests: {}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(writes, 0, "of {polls} requests");
    assert_eq!(service.stop(), 0);
    world.settled(2).await;
}

/// From the commit in the database to the moment that the org shows it; polls of the org are far apart.
pub async fn an_edit_reaches_the_org_within_a_second(kind: Kind) {
    let more = json!({"sync_settings": {"sync_type": "bidirectional", "ongoing_sync": {"mode": "real_time", "polling_interval_seconds": 30}}});
    let world = World::new(kind, more).await;
    world.insert(&["Acme"]).await;
    let mut service = world.tidelock.serve();
    service.ready().await;
    world.database.await_value("SELECT CAST(count(sf_id) AS TEXT) FROM accounts", "1").await;
    let mut times = Vec::new();
    for number in 0..9 {
        let industry = format!("Industry {number}");
        world.database.execute(&format!("UPDATE accounts SET industry_type = '{industry}'")).await;
        let begin = std::time::Instant::now();
        while world.sandbox.rows("SELECT Industry FROM Account").await[0][0].as_ref() != Some(&industry) {
            assert!(begin.elapsed().as_secs() < 60, "never: {}", service.log());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        times.push(begin.elapsed());
    }
    assert_eq!(service.stop(), 0);
    times.sort();
    eprintln!(
        "an edit of {kind:?} is in the org after {:?} (median of {}), {:?} at most",
        times[4],
        times.len(),
        times[8]
    );
    assert!(times[4].as_secs_f64() < 1.0, "{times:?}");
}

pub async fn other_grants_log_in_and_wrong_ones_do_not(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    world.create("Acme").await;
    let said_of = |name: &str| world.sandbox.said[name].clone();
    let with = |credentials: Value| {
        let mut endpoint = world.sandbox.endpoint("Account", &Value::Null);
        endpoint["credentials"] = json!({"instance_url": said_of("url"), "client_id": said_of("client_id")});
        for (key, value) in credentials.as_object().unwrap() {
            endpoint["credentials"][key] = value.clone();
        }
        world.configure(json!({"source": endpoint, "error_handling": {"retry_strategy": {"max_attempts": 1}}}));
    };
    with(json!({"refresh_token": said_of("refresh_token")}));
    world.tidelock.once(0);
    let secret = said_of("client_secret");
    with(json!({"client_secret": secret, "username": said_of("username"), "password": said_of("password")}));
    let ran = world.tidelock.once(0);
    assert!(ran.errors.contains("logging in by name and password"), "it is warned of: {}", ran.errors);
    world.settled(1).await;
    for wrong in [json!({"client_secret": "not-the-secret-1"}), json!({"refresh_token": "not-the-secret-2"})] {
        with(wrong);
        let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
        let said = said(&ran);
        assert!(ran.code != 0 && said.contains("salesforce.login"), "{}: {said}", ran.code);
        assert!(!said.contains("not-the-secret"), "{said}");
    }
    with(json!({}));
    let checked = world.tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    assert!(checked.code == 2 && said(&checked).contains("client_secret"), "{}: {}", checked.code, said(&checked));
}

pub async fn a_filter_lets_some_through(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    world.configure(
        json!({"sync_type": "one_way", "filter": {"source": "Industry = 'Energy' OR Industry = 'Banking'"}}),
    );
    for (name, industry) in [("Acme", "Energy"), ("Globex", "Retail"), ("Initech", "Banking")] {
        world.sandbox.create("Account", json!({"Name": name, "Industry": industry})).await;
    }
    world.tidelock.once(0);
    let names = "SELECT account_name FROM accounts ORDER BY account_name";
    let expected = |names: &[&str]| names.iter().map(|name| vec![Some((*name).to_owned())]).collect::<Vec<_>>();
    assert_eq!(world.database.rows(names).await, expected(&["Acme", "Initech"]));
    let globex = world.sandbox.rows("SELECT Id FROM Account WHERE Name = 'Globex'").await[0][0].clone().unwrap();
    world.sandbox.edit("Account", &globex, json!({"Industry": "Energy"})).await;
    world.tidelock.once(0);
    assert_eq!(world.database.rows(names).await, expected(&["Acme", "Globex", "Initech"]));
    world.configure(json!({"filter": {"source": "Industry is great"}}));
    let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert!(ran.code != 0 && said(&ran).contains("salesforce.filter"), "{}: {}", ran.code, said(&ran));
}
