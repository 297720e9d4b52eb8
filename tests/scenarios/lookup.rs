//! Records that refer to records of another pair: keys are translated through its links, and a child waits for its parent.

use serde_json::{Value, json};

use super::{Kind, Setup};
use crate::harness::Ran;

const TASKS: &str = "SELECT t.title, u.name FROM tasks t LEFT JOIN users u ON u.id = t.owner_id ORDER BY t.title";
const JOBS: &str = "SELECT j.label, p.name FROM jobs j LEFT JOIN people p ON p.nr = j.person ORDER BY j.label";

/// Both tables of each side, whose systems generate the keys.
async fn tables(setup: &Setup, kinds: (Kind, Kind)) {
    let (source, target) = (kinds.0.generated_key(), kinds.1.generated_key());
    setup.source.execute(&format!("CREATE TABLE users (id {source}, name TEXT); CREATE TABLE tasks (id {source}, title TEXT, owner_id INTEGER)")).await;
    setup
        .target
        .execute(&format!(
            "CREATE TABLE people (nr {target}, user_id INTEGER UNIQUE, name TEXT);
             CREATE TABLE jobs (nr {target}, task_id INTEGER UNIQUE, label TEXT, person INTEGER REFERENCES people (nr))"
        ))
        .await;
}

/// The pair of the tasks, which look the users up.
fn tasks(setup: &Setup, more: Value) -> Value {
    let pair = json!({
        "connection_name": "tasks", "sync_type": "bidirectional", "key": {"source": "id", "target": "task_id"},
        "source": setup.source.endpoint("crm", "tasks"), "target": setup.target.endpoint("erp", "jobs"),
        "field_mappings": [{"source": "title", "target": "label"}, {"source": "owner_id", "target": "person", "lookup": "users"}],
    });
    merged(pair, more)
}

fn users(setup: &Setup, more: Value) -> Value {
    let pair = json!({
        "connection_name": "users", "sync_type": "bidirectional", "key": {"source": "id", "target": "user_id"},
        "source": setup.source.endpoint("crm", "users"), "target": setup.target.endpoint("erp", "people"),
        "field_mappings": [{"source": "name", "target": "name"}],
    });
    merged(pair, more)
}

fn merged(mut pair: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        pair[key] = value.clone();
    }
    pair
}

/// Children first.
async fn setup(kinds: (Kind, Kind)) -> Setup {
    let setup = Setup::new(kinds).await;
    tables(&setup, kinds).await;
    setup.tidelock.configure(&json!({"syncs": [tasks(&setup, json!({})), users(&setup, json!({}))]}));
    setup
}

fn number(ran: &Ran, pair: &str, key: &str) -> u64 {
    let line = ran.lines.iter().find(|line| line["pair"] == pair);
    line.and_then(|line| line[key].as_u64()).unwrap_or_else(|| panic!("no {key} of {pair} in {:?}", ran.lines))
}

fn at_rest(setup: &Setup) {
    let again = setup.tidelock.once(0);
    for line in &again.lines {
        assert_eq!((line["written_source"].as_u64(), line["written_target"].as_u64()), (Some(0), Some(0)), "{line}");
    }
}

/// Task and owner's name, equal on both sides.
async fn owners(setup: &Setup) -> Vec<(String, Option<String>)> {
    let (source, target) = (setup.source.rows(TASKS).await, setup.target.rows(JOBS).await);
    assert_eq!(source, target);
    source.into_iter().map(|mut row| (row.remove(0).unwrap(), row.remove(0))).collect()
}

fn is(owners: &[(String, Option<String>)], expected: &[(&str, Option<&str>)]) {
    let owners: Vec<(&str, Option<&str>)> =
        owners.iter().map(|(task, owner)| (task.as_str(), owner.as_deref())).collect();
    assert_eq!(owners, expected);
}

pub async fn keys_are_translated_both_ways(kinds: (Kind, Kind)) {
    let setup = setup(kinds).await;
    setup.source.execute("INSERT INTO users (name) VALUES ('Ada'), ('Bob'); INSERT INTO tasks (title, owner_id) VALUES ('a', 2), ('b', 1), ('c', NULL)").await;
    setup.target.execute("INSERT INTO people (nr, name) VALUES (100, 'Cid'); INSERT INTO jobs (nr, label, person) VALUES (200, 'd', 100), (201, 'e', NULL)").await;
    let first = setup.tidelock.once(0);
    assert_eq!((number(&first, "tasks", "rejected"), number(&first, "tasks", "waiting")), (0, 0));
    is(&owners(&setup).await, &[("a", Some("Bob")), ("b", Some("Ada")), ("c", None), ("d", Some("Cid")), ("e", None)]);
    at_rest(&setup);

    setup.source.execute("UPDATE tasks SET owner_id = 3 WHERE title = 'a'").await;
    setup
        .target
        .execute("UPDATE jobs SET person = 100 WHERE label = 'c'; UPDATE jobs SET person = NULL WHERE label = 'd'")
        .await;
    setup.tidelock.once(0);
    is(&owners(&setup).await, &[("a", Some("Cid")), ("b", Some("Ada")), ("c", Some("Cid")), ("d", None), ("e", None)]);
    at_rest(&setup);
    let audit = setup.tidelock.audit(0);
    assert_eq!((number(&audit, "tasks", "compared"), number(&audit, "tasks", "matching")), (5, 5));
}

pub async fn a_child_waits_and_holds_up_nobody(kinds: (Kind, Kind)) {
    let setup = setup(kinds).await;
    setup.source.execute("INSERT INTO users (name) VALUES ('Ada'); INSERT INTO tasks (title, owner_id) VALUES ('a', 1), ('b', 900), ('c', 901)").await;
    let first = setup.tidelock.once(1);
    let of = |ran: &Ran, key| number(ran, "tasks", key);
    assert_eq!((of(&first, "waiting"), of(&first, "reviews"), of(&first, "rejected")), (2, 0, 0));
    assert_eq!(setup.target.value("SELECT CAST(count(*) AS TEXT) FROM jobs").await.as_deref(), Some("1"));
    let status = setup.tidelock.run(&["status", "--json"]);
    assert_eq!((number(&status, "tasks", "waiting"), number(&status, "tasks", "reviews")), (2, 0));
    assert_eq!(number(&setup.tidelock.audit(0), "tasks", "in_review"), 2);
    let again = setup.tidelock.once(1);
    assert_eq!((of(&again, "written_target"), of(&again, "waiting")), (0, 2));

    // Its parent comes, or it changes its mind.
    setup
        .source
        .execute("INSERT INTO users (id, name) VALUES (900, 'Bob'); UPDATE tasks SET owner_id = 1 WHERE title = 'c'")
        .await;
    setup.tidelock.once(0);
    is(&owners(&setup).await, &[("a", Some("Ada")), ("b", Some("Bob")), ("c", Some("Ada"))]);
    at_rest(&setup);

    // A linked record waits with its edit alone, and one that is deleted waits no more.
    setup
        .source
        .execute(
            "UPDATE tasks SET owner_id = 902 WHERE title = 'b'; INSERT INTO tasks (title, owner_id) VALUES ('d', 903)",
        )
        .await;
    assert_eq!(of(&setup.tidelock.once(1), "waiting"), 2);
    setup.source.execute("DELETE FROM tasks WHERE title = 'd'; INSERT INTO users (id, name) VALUES (902, 'Cid')").await;
    setup.tidelock.once(0);
    is(&owners(&setup).await, &[("a", Some("Ada")), ("b", Some("Cid")), ("c", Some("Ada"))]);
    at_rest(&setup);
}

/// Employees who have managers, that the target knows as staff who have bosses.
async fn employees(kinds: (Kind, Kind), more: Value) -> Setup {
    let setup = Setup::new(kinds).await;
    let staff = "name TEXT, boss INTEGER REFERENCES staff (nr)";
    setup
        .target
        .execute(&format!("CREATE TABLE staff (nr {}, emp_id INTEGER UNIQUE, {staff})", kinds.1.generated_key()))
        .await;
    let employees = format!("CREATE TABLE employees (id {}, name TEXT, manager_id INTEGER)", kinds.0.generated_key());
    setup.source.execute(&employees).await;
    let pair = json!({
        "connection_name": "employees", "key": {"source": "id", "target": "emp_id"},
        "source": setup.source.endpoint("crm", "employees"), "target": setup.target.endpoint("erp", "staff"),
        "field_mappings": [{"source": "name", "target": "name"}, {"source": "manager_id", "target": "boss", "lookup": "employees"}],
    });
    setup.tidelock.configure(&merged(pair, more));
    setup
}

async fn bosses(setup: &Setup, expected: &[(&str, Option<&str>)]) {
    let tree = "SELECT one.name, boss.name FROM staff one LEFT JOIN staff boss ON boss.nr = one.boss ORDER BY one.name";
    let expected: Vec<Vec<Option<String>>> =
        expected.iter().map(|(name, boss)| vec![Some((*name).to_owned()), boss.map(str::to_owned)]).collect();
    assert_eq!(setup.target.rows(tree).await, expected);
}

const TREE: &str = "INSERT INTO employees (id, name, manager_id) VALUES (1, 'leaf', 2), (2, 'twig', 3), (3, 'root', NULL), (4, 'leaf 2', 2)";

pub async fn a_tree_lands_whole_child_first(kinds: (Kind, Kind)) {
    for (sync_type, batch) in [("bidirectional", 100), ("one_way", 1)] {
        let setup =
            employees(kinds, json!({"sync_type": sync_type, "performance_settings": {"batch_size": batch}})).await;
        setup.source.execute(TREE).await;
        let first = setup.tidelock.once(0);
        assert_eq!((first.number("written_target"), first.number("rejected"), first.number("waiting")), (4, 0, 0));
        bosses(&setup, &[("leaf", Some("twig")), ("leaf 2", Some("twig")), ("root", None), ("twig", Some("root"))])
            .await;
        at_rest(&setup);
    }
}

/// Who manages himself, and who manage each other, cannot wait for the other to come first.
pub async fn circles_are_untied(kinds: (Kind, Kind)) {
    for sync_type in ["bidirectional", "one_way"] {
        let setup = employees(kinds, json!({"sync_type": sync_type})).await;
        setup.source.execute("INSERT INTO employees (id, name, manager_id) VALUES (1, 'ann', 2), (2, 'bob', 3), (3, 'cid', 1), (4, 'own', 4), (5, 'sub', 4)").await;
        let first = setup.tidelock.once(0);
        assert_eq!((first.number("rejected"), first.number("waiting")), (0, 0));
        let expected = [
            ("ann", Some("bob")),
            ("bob", Some("cid")),
            ("cid", Some("ann")),
            ("own", Some("own")),
            ("sub", Some("own")),
        ];
        bosses(&setup, &expected).await;
        at_rest(&setup);
        assert_eq!(setup.tidelock.audit(0).number("matching"), 5);
    }
}

/// Accounts name a contact and contacts an account, of which the target can do without one only: whichever pair comes first.
pub async fn circles_of_two_pairs_are_untied(kinds: (Kind, Kind)) {
    for contacts_first in [true, false] {
        let setup = Setup::new(kinds).await;
        let (source, target) = (kinds.0.generated_key(), kinds.1.generated_key());
        setup.source.execute(&format!("CREATE TABLE accounts (id {source}, name TEXT, main INTEGER); CREATE TABLE contacts (id {source}, name TEXT, account INTEGER)")).await;
        setup.target.execute(&format!("CREATE TABLE firms (nr {target}, account_id INTEGER UNIQUE, name TEXT, main INTEGER); CREATE TABLE persons (nr {target}, contact_id INTEGER UNIQUE, name TEXT, firm INTEGER NOT NULL REFERENCES firms (nr))")).await;
        let pair = |name: &str, table: &str, key: &str, fields: Value| {
            json!({"connection_name": name, "sync_type": "bidirectional", "key": {"source": "id", "target": key},
                "source": setup.source.endpoint("crm", name), "target": setup.target.endpoint("erp", table), "field_mappings": fields})
        };
        let name = json!({"source": "name", "target": "name"});
        let accounts = pair(
            "accounts",
            "firms",
            "account_id",
            json!([name, {"source": "main", "target": "main", "lookup": "contacts"}]),
        );
        let contacts = pair(
            "contacts",
            "persons",
            "contact_id",
            json!([name, {"source": "account", "target": "firm", "lookup": "accounts"}]),
        );
        let syncs = if contacts_first { [contacts, accounts] } else { [accounts, contacts] };
        setup.tidelock.configure(&json!({"syncs": syncs}));
        setup.source.execute("INSERT INTO accounts (id, name, main) VALUES (7, 'Acme', 20); INSERT INTO contacts (id, name, account) VALUES (20, 'Ada', 7), (21, 'Bob', 7)").await;
        setup.tidelock.once(0);
        let people = "SELECT p.name, f.name, m.name FROM persons p JOIN firms f ON f.nr = p.firm JOIN persons m ON m.nr = f.main ORDER BY p.name";
        let expected = [["Ada", "Acme", "Ada"], ["Bob", "Acme", "Ada"]];
        let expected = expected.map(|row| row.map(|value| Some(value.to_owned())).to_vec());
        assert_eq!(setup.target.rows(people).await, expected);
        at_rest(&setup);
    }
}

/// A copy by key has no links, until another pair asks for them.
pub async fn a_copy_keeps_links_for_those_who_look_it_up(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    tables(&setup, kinds).await;
    setup.target.execute("INSERT INTO people (nr, user_id, name) VALUES (100, 7, 'A.')").await;
    setup.source.execute("INSERT INTO users (id, name) VALUES (7, 'Ada'), (8, 'Bob'); INSERT INTO tasks (title, owner_id) VALUES ('a', 7), ('b', 8)").await;
    let one_way = || json!({"sync_type": "one_way"});
    setup.tidelock.configure(&json!({"syncs": [users(&setup, one_way())]}));
    setup.tidelock.once(0);
    setup.tidelock.configure(&json!({"syncs": [tasks(&setup, one_way()), users(&setup, one_way())]}));
    let second = setup.tidelock.once(0);
    assert_eq!((number(&second, "users", "written_target"), number(&second, "tasks", "written_target")), (0, 2));
    is(&owners(&setup).await, &[("a", Some("Ada")), ("b", Some("Bob"))]);
    at_rest(&setup);
}

pub async fn a_parent_wakes_its_children_live(kinds: (Kind, Kind)) {
    let setup = setup(kinds).await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.source.execute("INSERT INTO tasks (id, title, owner_id) VALUES (1, 'a', 70), (2, 'b', NULL)").await;
    setup.target.await_value("SELECT label FROM jobs", "b").await;
    setup.source.execute("INSERT INTO users (id, name) VALUES (70, 'Ada')").await;
    setup
        .target
        .await_value("SELECT p.name FROM jobs j JOIN people p ON p.nr = j.person WHERE j.label = 'a'", "Ada")
        .await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    at_rest(&setup);
}
