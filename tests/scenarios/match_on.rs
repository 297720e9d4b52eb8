//! No shared key and no correlation yet: records find each other by other fields, and nothing is doubled or guessed.

use serde_json::{Value, json};

use super::{Kind, Setup};

type Rows = Vec<Vec<Option<String>>>;

async fn setup(kinds: (Kind, Kind), more: Value) -> Setup {
    let setup = Setup::new(kinds).await;
    let mut config = json!({"match_on": ["phone"], "field_mappings": [{"source": "name", "target": "full_name"},
        {"source": "phone", "target": "phone", "transformation": "trim"}]});
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    setup.without_shared_key(kinds, config).await;
    setup
}

/// Name, key on the source's side.
async fn names(setup: &Setup) -> (Rows, Rows) {
    (
        setup.source.rows("SELECT name, CAST(id AS TEXT) FROM customers ORDER BY name, id").await,
        setup.target.rows("SELECT full_name, CAST(crm_id AS TEXT) FROM clients ORDER BY full_name, crm_id").await,
    )
}

fn of(names: &[&str], rows: &Rows) -> Rows {
    rows.iter().filter(|row| names.contains(&row[0].as_deref().unwrap())).cloned().collect()
}

pub async fn records_find_each_other_once(kinds: (Kind, Kind)) {
    let setup = setup(kinds, json!({})).await;
    setup.source.execute("INSERT INTO customers (name, phone) VALUES ('Ada', ' 1 '), ('Bob', '2'), ('Cid', NULL), ('Dot', ''), ('Eve', '5')").await;
    setup.target.execute("INSERT INTO clients (nr, full_name, phone) VALUES (100, 'Ada', '1'), (101, 'Fay', '6'), (102, 'Cid', NULL), (103, 'Dot', ''), (104, 'Eva', '5')").await;
    let first = setup.tidelock.once(0);
    let (source, target) = names(&setup).await;
    assert_eq!(source, target);
    let found: Vec<&str> = source.iter().map(|row| row[0].as_deref().unwrap()).collect();
    let eve = found.iter().filter(|name| ["Eve", "Eva"].contains(name)).count();
    assert_eq!((found.len(), eve), (9 - 1, 1), "what says nothing matches nothing: {found:?}");
    assert_eq!(first.number("reviews"), 0);
    setup.quiet();

    // Born on both sides between two runs: first contact is first contact.
    setup.source.execute("INSERT INTO customers (name, phone) VALUES ('Gus', '7')").await;
    setup.target.execute("INSERT INTO clients (nr, full_name, phone) VALUES (110, 'Gus', '7')").await;
    setup.tidelock.once(0);
    let (source, target) = names(&setup).await;
    assert_eq!(source, target);
    assert_eq!(of(&["Gus"], &source).len(), 1);
    setup.quiet();
    // One that has a partner is nobody else's.
    setup.source.execute("INSERT INTO customers (name, phone) VALUES ('Hal', '7')").await;
    setup.tidelock.once(0);
    let (source, target) = names(&setup).await;
    assert_eq!(source, target);
    assert_eq!(of(&["Gus", "Hal"], &target).len(), 2);
    setup.quiet();
}

pub async fn several_wait_for_a_person(kinds: (Kind, Kind)) {
    let setup = setup(kinds, json!({})).await;
    setup
        .source
        .execute("INSERT INTO customers (name, phone) VALUES ('Ada', '1'), ('Bob', '2'), ('Bob', '2'), ('Cid', '3')")
        .await;
    // The last one names its partner itself, so it does not come into question for Ada.
    setup.target.execute("INSERT INTO clients (nr, crm_id, full_name, phone) VALUES (100, NULL, 'Ada', '1'), (101, NULL, 'Ada', '1'), (102, NULL, 'Bob', '2'), (103, 4, 'Cid', '1')").await;
    let first = setup.tidelock.once(1);
    assert_eq!(first.number("reviews"), 6, "{:?}", first.lines);
    let (source, target) = names(&setup).await;
    assert_eq!((source.len(), target.len()), (4, 4), "nothing is doubled");
    assert_eq!(of(&["Cid"], &source), of(&["Cid"], &target));
    let again = setup.tidelock.once(1);
    assert_eq!((again.number("written_source"), again.number("written_target")), (0, 0));

    // What was told apart goes on.
    setup.target.execute("UPDATE clients SET phone = '8' WHERE nr = 101").await;
    setup.source.execute("UPDATE customers SET phone = '9' WHERE id = 3").await;
    setup.tidelock.once(1);
    setup
        .source
        .execute("UPDATE customers SET name = 'Ada K' WHERE id = 1; UPDATE customers SET name = 'Bob K' WHERE id = 2")
        .await;
    setup.tidelock.once(0);
    let (source, target) = names(&setup).await;
    assert_eq!(source, target);
    assert_eq!(source.len(), 5);
    setup.quiet();
    let audit = setup.tidelock.audit(0);
    assert_eq!((audit.number("compared"), audit.number("matching")), (5, 5));
}

/// A one-way sync takes over what the target has of its own.
pub async fn a_copy_adopts_what_is_there(kinds: (Kind, Kind)) {
    let setup = setup(kinds, json!({"sync_type": "one_way"})).await;
    setup.source.execute("INSERT INTO customers (name, phone) VALUES ('Ada', '1'), ('Bob', '2')").await;
    setup.target.execute("INSERT INTO clients (nr, full_name, phone) VALUES (100, 'A.', '1'), (101, 'Fay', '6')").await;
    setup.tidelock.once(0);
    let (source, target) = names(&setup).await;
    assert_eq!(source, of(&["Ada", "Bob"], &target));
    assert_eq!(target.len(), 3);
    let kept = setup.target.value("SELECT full_name FROM clients WHERE nr = 100").await;
    assert_eq!(kept.as_deref(), Some("Ada"));
    setup.quiet();
}
