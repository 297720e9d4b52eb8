//! A hub with two spokes, three databases: what one writes reaches the two others once. Triggers of the test's own count every write.

use serde_json::{Value, json};

use super::{Kind, program};
use crate::harness::{Database, Tidelock};

/// The databases, in this order everywhere: hub, crm, desk.
pub struct Hub {
    databases: [Database; 3],
    tidelock: Tidelock,
}

const NAMES: [&str; 3] = ["hub", "crm", "desk"];
/// One table of a database, as everybody sees it.
const SEEN: [&str; 3] = [
    "SELECT id, name, phone FROM accounts ORDER BY id",
    "SELECT id, name, phone FROM account ORDER BY id",
    "SELECT id, title, telephone FROM organizations ORDER BY id",
];

impl Hub {
    async fn new(kinds: [Kind; 3]) -> Self {
        let tidelock = program(&kinds);
        let folder = tidelock.folder.path().to_owned();
        let mut databases = Vec::new();
        for (kind, name) in kinds.into_iter().zip(NAMES) {
            let database = kind.open(&folder, name).await;
            database.execute("CREATE TABLE writes (op TEXT, of TEXT)").await;
            databases.push(database);
        }
        let Ok(databases) = databases.try_into() else { unreachable!("as many as names") };
        Self { databases, tidelock }
    }

    /// Makes a table whose writes are counted.
    async fn table(&self, place: usize, name: &str, columns: &str) {
        let database = &self.databases[place];
        let counted = match database {
            Database::Sqlite(_) => ["insert", "update", "delete"]
                .map(|op| format!("CREATE TRIGGER count_{op}_{name} AFTER {op} ON {name} BEGIN INSERT INTO writes VALUES ('{op}', '{name}'); END;"))
                .concat(),
            Database::Mysql { .. } => ["insert", "update", "delete"]
                .map(|op| format!("CREATE TRIGGER count_{op}_{name} AFTER {op} ON {name} FOR EACH ROW INSERT INTO writes VALUES ('{op}', '{name}');"))
                .concat(),
            Database::Postgres { .. } => format!(
                "CREATE FUNCTION count_{name}() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO writes VALUES (lower(TG_OP), TG_TABLE_NAME); RETURN NULL; END $$;
                 CREATE TRIGGER count_{name} AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION count_{name}()"
            ),
        };
        let kind = match database {
            Database::Sqlite(_) => Kind::Sqlite,
            Database::Postgres { .. } => Kind::Postgres,
            Database::Mysql { .. } => Kind::Mysql,
        };
        let columns = columns.replace("GENERATED", kind.generated_key());
        database.execute(&format!("CREATE TABLE {name} ({columns}); {counted}")).await;
    }

    fn configure(&self, spokes: Value, more: Value) {
        let system = |place: usize| {
            let mut system = self.databases[place].endpoint(NAMES[place], "");
            let members = system.as_object_mut().unwrap();
            members.remove("table");
            members.remove("name");
            system
        };
        let mut config = json!({
            "systems": {"hub": system(0), "crm": system(1), "desk": system(2)},
            "sync_hub": "hub", "sync_type": "bidirectional", "connected_systems": spokes,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.tidelock.configure(&config);
    }

    async fn execute(&self, place: usize, sql: &str) {
        self.databases[place].execute(sql).await;
    }

    /// Forgets the writes that were counted so far.
    async fn forget(&self) {
        for database in &self.databases {
            database.execute("DELETE FROM writes").await;
        }
    }

    /// The writes since the last time, each database's: `insert accounts`, …
    async fn writes(&self) -> [Vec<String>; 3] {
        let mut all = Vec::new();
        for database in &self.databases {
            let rows = database.rows("SELECT op || ' ' || of FROM writes ORDER BY 1").await;
            all.push(rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect());
        }
        self.forget().await;
        all.try_into().unwrap_or_default()
    }

    /// What all three see, if it is the same.
    async fn agreed(&self) -> Vec<Vec<Option<String>>> {
        let mut seen = Vec::new();
        for (database, query) in self.databases.iter().zip(SEEN) {
            seen.push(database.rows(query).await);
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
        seen.remove(0)
    }

    /// A run that finds nothing to write, and nobody has seen a write.
    async fn at_rest(&self) {
        self.forget().await;
        for line in &self.tidelock.once(0).lines {
            assert_eq!(
                (line["written_source"].as_u64(), line["written_target"].as_u64()),
                (Some(0), Some(0)),
                "{line}"
            );
        }
        assert_eq!(self.writes().await, none());
    }

    /// Conflicts that a run settles, over all pairs.
    fn run(&self) -> u64 {
        self.tidelock.once(0).lines.iter().map(|line| line["conflicts"].as_u64().unwrap()).sum()
    }
}

fn none() -> [Vec<String>; 3] {
    Default::default()
}

fn counted(writes: [&[&str]; 3]) -> [Vec<String>; 3] {
    writes.map(|of| of.iter().map(|&write| write.to_owned()).collect())
}

fn rows(expected: &[[&str; 3]]) -> Vec<Vec<Option<String>>> {
    expected.iter().map(|row| row.iter().map(|value| Some((*value).to_owned())).collect()).collect()
}

/// All three have the same key, which whoever inserts makes.
async fn shared_key(kinds: [Kind; 3], more: Value) -> Hub {
    let hub = Hub::new(kinds).await;
    hub.table(0, "accounts", "id TEXT PRIMARY KEY NOT NULL, name TEXT, phone TEXT, changed TIMESTAMP").await;
    hub.table(1, "account", "id TEXT PRIMARY KEY NOT NULL, name TEXT, phone TEXT, changed TIMESTAMP").await;
    hub.table(2, "organizations", "id TEXT PRIMARY KEY NOT NULL, title TEXT, telephone TEXT, changed TIMESTAMP").await;
    let spoke = |system: &str, object: &str, name: &str, phone: &str| {
        json!({"system": system, "mappings": {object: {"hub": "accounts", "field_mappings": [
            {"source": "id", "target": "id"}, {"source": name, "target": "name"}, {"source": phone, "target": "phone"}, {"source": "changed", "target": "changed"}]}}})
    };
    hub.configure(
        json!([spoke("crm", "account", "name", "phone"), spoke("desk", "organizations", "title", "telephone")]),
        more,
    );
    hub
}

/// One record born in each.
async fn loaded(kinds: [Kind; 3]) -> Hub {
    let hub = shared_key(kinds, json!({})).await;
    hub.execute(0, "INSERT INTO accounts (id, name, phone) VALUES ('a', 'Ada', '1')").await;
    hub.execute(1, "INSERT INTO account (id, name, phone) VALUES ('b', 'Bob', '2')").await;
    hub.execute(2, "INSERT INTO organizations (id, title, telephone) VALUES ('c', 'Cid', '3')").await;
    hub.forget().await;
    hub.run();
    hub
}

pub async fn an_edit_reaches_all_the_others_once(kinds: [Kind; 3]) {
    let hub = loaded(kinds).await;
    let loads = [&["insert accounts"; 2], &["insert account"; 2], &["insert organizations"; 2]];
    assert_eq!(hub.writes().await, counted(loads.map(|of| of.as_slice())));
    assert_eq!(hub.agreed().await, rows(&[["a", "Ada", "1"], ["b", "Bob", "2"], ["c", "Cid", "3"]]));
    hub.at_rest().await;
    // Once each: where it was edited, in the hub, in the other spoke.
    for (place, edit, phone) in [
        (0, "UPDATE accounts SET phone = '10' WHERE id = 'a'", "10"),
        (1, "UPDATE account SET phone = '11' WHERE id = 'a'", "11"),
        (2, "UPDATE organizations SET telephone = '12' WHERE id = 'a'", "12"),
    ] {
        hub.execute(place, edit).await;
        assert_eq!(hub.run(), 0);
        let once = counted([&["update accounts"], &["update account"], &["update organizations"]]);
        assert_eq!(hub.writes().await, once, "{edit}");
        assert_eq!(hub.agreed().await[0][2].as_deref(), Some(phone));
    }
    hub.at_rest().await;
}

pub async fn edits_of_different_fields_survive(kinds: [Kind; 3]) {
    let hub = loaded(kinds).await;
    hub.forget().await;
    hub.execute(1, "UPDATE account SET phone = '20' WHERE id = 'b'").await;
    hub.execute(2, "UPDATE organizations SET title = 'Bert' WHERE id = 'b'").await;
    assert_eq!(hub.run(), 0);
    let twice = [&["update accounts"; 2], &["update account"; 2], &["update organizations"; 2]];
    assert_eq!(hub.writes().await, counted(twice.map(|of| of.as_slice())));
    assert_eq!(hub.agreed().await[1], rows(&[["b", "Bert", "20"]])[0]);
    hub.at_rest().await;
}

pub async fn a_death_reaches_all_the_others_once(kinds: [Kind; 3]) {
    let hub = loaded(kinds).await;
    hub.forget().await;
    for (place, death) in [
        "DELETE FROM accounts WHERE id = 'a'",
        "DELETE FROM account WHERE id = 'b'",
        "DELETE FROM organizations WHERE id = 'c'",
    ]
    .iter()
    .enumerate()
    {
        hub.execute(place, death).await;
        hub.run();
        let once = counted([&["delete accounts"], &["delete account"], &["delete organizations"]]);
        assert_eq!(hub.writes().await, once, "{death}");
        assert_eq!(hub.agreed().await.len(), 2 - place);
    }
    hub.at_rest().await;
}

/// The same field in both spokes: one value wins everywhere, whichever pair sees it first.
pub async fn a_conflict_between_spokes_is_settled_for_all(kinds: [Kind; 3]) {
    let by_time = json!({"conflict_resolution": {"strategy": "last_write_wins", "timestamp_field": "changed"}});
    let by_hand = json!({"conflict_resolution": {"strategy": "system_priority", "priority_system": "hub"}});
    for (policy, timed) in [(by_time, true), (by_hand, false)] {
        let hub = shared_key(kinds, policy).await;
        hub.execute(0, "INSERT INTO accounts (id, name, phone, changed) VALUES ('a', 'Ada', '1', '2026-01-01 08:00:00'), ('b', 'Bob', '2', '2026-01-01 08:00:00')").await;
        hub.run();
        hub.execute(1, "UPDATE account SET phone = 'crm', changed = '2026-01-01 10:00:00' WHERE id = 'a'; UPDATE account SET phone = 'crm', changed = '2026-01-01 09:00:00' WHERE id = 'b'").await;
        hub.execute(2, "UPDATE organizations SET telephone = 'desk', changed = '2026-01-01 09:00:00' WHERE id = 'a'; UPDATE organizations SET telephone = 'desk', changed = '2026-01-01 10:00:00' WHERE id = 'b'").await;
        assert!(hub.run() > 0, "a loser is on record");
        let found: Vec<Option<String>> = hub.agreed().await.into_iter().map(|mut row| row.remove(2)).collect();
        // With priority to the hub, what reached it first stays.
        let expected = if timed { ["crm", "desk"] } else { ["crm", "crm"] };
        assert_eq!(found, expected.map(|value| Some(value.to_owned())));
        hub.at_rest().await;
    }
}

/// Every system generates its own keys, the hub keeps the spokes'; records refer to each other through lookups, children listed first.
async fn own_keys(kinds: [Kind; 3]) -> Hub {
    let hub = Hub::new(kinds).await;
    hub.table(0, "accounts", "id GENERATED, crm_id INTEGER UNIQUE, desk_id INTEGER UNIQUE, name TEXT").await;
    hub.table(0, "contacts", "id GENERATED, crm_id INTEGER UNIQUE, desk_id INTEGER UNIQUE, name TEXT, account INTEGER REFERENCES accounts (id)").await;
    for (place, account, contact) in [(1, "account", "contact"), (2, "organizations", "users")] {
        hub.table(place, account, "id GENERATED, name TEXT").await;
        hub.table(place, contact, &format!("id GENERATED, name TEXT, parent INTEGER REFERENCES {account} (id)")).await;
    }
    let spoke = |system: &str, account: &str, contact: &str| {
        let key = json!({"source": "id", "target": format!("{system}_id")});
        let name = json!({"source": "name", "target": "name"});
        json!({"system": system, "objects": [contact, account], "mappings": {
            contact: {"hub": "contacts", "key": key, "field_mappings": [name, {"source": "parent", "target": "account", "lookup": account}]},
            account: {"hub": "accounts", "key": key, "field_mappings": [name]}}})
    };
    hub.configure(json!([spoke("crm", "account", "contact"), spoke("desk", "organizations", "users")]), json!({}));
    hub
}

const FAMILIES: [&str; 3] = [
    "SELECT c.name, a.name FROM contacts c LEFT JOIN accounts a ON a.id = c.account ORDER BY c.name",
    "SELECT c.name, a.name FROM contact c LEFT JOIN account a ON a.id = c.parent ORDER BY c.name",
    "SELECT c.name, a.name FROM users c LEFT JOIN organizations a ON a.id = c.parent ORDER BY c.name",
];

pub async fn a_birth_reaches_all_the_others_once(kinds: [Kind; 3]) {
    let hub = own_keys(kinds).await;
    hub.run();
    // The hub learns each spoke's generated key; nobody else writes twice.
    let born = [
        (
            0,
            "INSERT INTO accounts (name) VALUES ('hub')",
            ["insert accounts", "update accounts", "update accounts"].as_slice(),
        ),
        (1, "INSERT INTO account (name) VALUES ('crm')", &["insert accounts", "update accounts"]),
        (2, "INSERT INTO organizations (id, name) VALUES (70, 'desk')", &["insert accounts", "update accounts"]),
    ];
    for (place, birth, in_hub) in born {
        hub.forget().await;
        hub.execute(place, birth).await;
        hub.run();
        assert_eq!(hub.writes().await, counted([in_hub, &["insert account"], &["insert organizations"]]), "{birth}");
    }
    hub.at_rest().await;
}

/// From every side, with keys that no two systems share.
pub async fn families_are_the_same_everywhere(kinds: [Kind; 3]) {
    let hub = own_keys(kinds).await;
    hub.execute(1, "INSERT INTO account (id, name) VALUES (50, 'Ada'); INSERT INTO contact (name, parent) VALUES ('a', 50), ('b', 50)").await;
    hub.execute(2, "INSERT INTO organizations (id, name) VALUES (90, 'Bob'); INSERT INTO users (name, parent) VALUES ('c', 90), ('d', NULL)").await;
    hub.run();
    let mut seen = Vec::new();
    for (database, query) in hub.databases.iter().zip(FAMILIES) {
        seen.push(database.rows(query).await);
    }
    let expected = [("a", Some("Ada")), ("b", Some("Ada")), ("c", Some("Bob")), ("d", None)];
    let expected = expected.map(|(name, parent)| vec![Some(name.to_owned()), parent.map(str::to_owned)]);
    assert!(seen.iter().all(|one| *one == expected), "{seen:?}");
    hub.at_rest().await;
}

pub async fn changes_travel_through_the_hub_live(kinds: [Kind; 3]) {
    let hub = shared_key(kinds, json!({})).await;
    let mut service = hub.tidelock.serve();
    service.ready().await;
    let [center, crm, desk] = &hub.databases;
    crm.execute("INSERT INTO account (id, name, phone) VALUES ('a', 'Ada', '1')").await;
    desk.await_value("SELECT title FROM organizations WHERE id = 'a'", "Ada").await;
    desk.execute("UPDATE organizations SET telephone = '2' WHERE id = 'a'").await;
    crm.await_value("SELECT phone FROM account WHERE id = 'a'", "2").await;
    center.execute("UPDATE accounts SET name = 'Eva' WHERE id = 'a'").await;
    for (database, query) in [(crm, "SELECT name FROM account"), (desk, "SELECT title FROM organizations")] {
        database.await_value(query, "Eva").await;
    }
    crm.execute("DELETE FROM account WHERE id = 'a'").await;
    desk.await_value("SELECT CAST(count(*) AS TEXT) FROM organizations", "0").await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    let each = |table: &str| ["delete", "insert", "update", "update"].map(|op| format!("{op} {table}")).to_vec();
    assert_eq!(hub.writes().await, [each("accounts"), each("account"), each("organizations")]);
    hub.at_rest().await;
}

/// Edits, births and deaths in all three at once, while the service runs: in the end all three say the same, and nobody writes.
pub async fn edits_from_all_sides_converge(kinds: [Kind; 3]) {
    let hub = shared_key(kinds, json!({})).await;
    let mut service = hub.tidelock.serve();
    service.ready().await;
    let tables = [("accounts", "name", "phone"), ("account", "name", "phone"), ("organizations", "title", "telephone")];
    // A linear congruential generator: the same edits in every run, whatever becomes of them.
    let mut seed = 20_261_125_u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for edit in 0..150 {
        let place = usize::try_from(next(3)).unwrap();
        let (table, name, phone) = tables[place];
        let id = next(12);
        let sql = match next(10) {
            0 => format!("DELETE FROM {table} WHERE id = 'k{id}'"),
            1..=3 => format!(
                "INSERT INTO {table} (id, {name}, {phone}) VALUES ('k{id}', 'n{edit}', 'p{edit}') ON CONFLICT DO NOTHING"
            ),
            4..=6 => format!("UPDATE {table} SET {name} = 'n{edit}' WHERE id = 'k{id}'"),
            _ => format!("UPDATE {table} SET {phone} = 'p{edit}' WHERE id = 'k{id}'"),
        };
        hub.execute(place, &sql).await;
    }
    // A mark behind everything, from every side.
    for (place, (table, name, _)) in tables.into_iter().enumerate() {
        hub.execute(place, &format!("INSERT INTO {table} (id, {name}) VALUES ('mark{place}', 'end')")).await;
    }
    for (database, (table, ..)) in hub.databases.iter().zip(tables) {
        database.await_value(&format!("SELECT CAST(count(*) AS TEXT) FROM {table} WHERE id LIKE 'mark%'"), "3").await;
    }
    assert_eq!(service.stop(), 0, "{}", service.log());
    hub.run();
    assert!(hub.agreed().await.len() > 3);
    hub.at_rest().await;
}
