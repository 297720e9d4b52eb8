//! What every connector must do, held against the Salesforce connector and the sandbox. The suite of `tests/contract` makes its tables with SQL
//! and chooses their keys; an org's objects are made by people, and it makes its keys itself. So its checks are said here in an org's terms, under
//! the names that they have there.
//!
//! What cannot apply: composite keys, a unique set in place of a key, collections without a key, names with blanks, keys of other kinds, a changed
//! key (Salesforce keys are ids that it makes); marks (there is no table of ours: `made` is held instead); own writes that are left out, tracking
//! objects, acknowledgement and `wait` that ends at a change (changes are polled, and nothing is made there).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidelock::change::{Op, Position};
use tidelock::config::{CaptureMethod, Credentials, Endpoint, Location, Secret};
use tidelock::connector::salesforce::Salesforce;
use tidelock::connector::{Connector, Mark, OpenOptions, ScanOrder, Side, Source, Target, Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, KeyRange, Record};
use tidelock::value::Value;

use crate::contract::{TIMEOUT, scan_all, strings};
use crate::harness::Tidelock;
use crate::harness::sandbox::Sandbox;

const FIELDS: [&str; 6] = ["Id", "Name", "Industry", "NumberOfEmployees", "Balance__c", "Tidelock_Id__c"];

/// A sandbox, and its accounts opened.
struct Org {
    sandbox: Sandbox,
    source: Box<dyn Source>,
    target: Arc<dyn Target>,
    _folder: Tidelock,
}

fn endpoint(sandbox: &Sandbox, object: &str) -> Endpoint {
    let text = |name: &str| Secret::new(sandbox.said[name].as_str().unwrap());
    let other = [("instance_url", "url"), ("client_id", "client_id"), ("client_secret", "client_secret")];
    let other = other.into_iter().map(|(key, name)| (key.to_owned(), text(name))).collect();
    Endpoint {
        at: Location::default(),
        system_type: "salesforce".to_owned(),
        name: "crm".into(),
        collection: object.to_owned(),
        filter: None,
        updated_at: None,
        key: Vec::new(),
        external_id: None,
        bulk_threshold: None,
        timeout: None,
        credentials: Credentials { other, ..Credentials::default() },
    }
}

fn options(fields: &[&str]) -> OpenOptions {
    OpenOptions {
        fields: strings(fields),
        correlation: strings(&["Tidelock_Id__c"]),
        consumer: "state.pair-1".to_owned(),
        capture: CaptureMethod::Polling,
        updated_at: None,
        looks: false,
        images: false,
        overlap: Duration::ZERO,
    }
}

async fn open(endpoint: &Endpoint, fields: &[&str]) -> Side {
    let connector = Salesforce::default();
    let schema = connector.describe(endpoint).await.unwrap();
    connector.open(endpoint, &schema, options(fields)).await.unwrap()
}

impl Org {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Endpoint)) -> Self {
        let folder = Tidelock::new();
        let sandbox = Sandbox::start(&folder, &["--empty"]).await;
        let mut endpoint = endpoint(&sandbox, "Account");
        change(&mut endpoint);
        let Side { source, target } = open(&endpoint, &FIELDS).await;
        Self { sandbox, source, target, _folder: folder }
    }

    /// Creates accounts of these names, one more employee each, and returns their keys.
    async fn people(&self, names: &[&str]) -> Vec<Key> {
        let create = |(number, name): (i64, &&str)| Write::Create {
            record: Record::of([("Name", text(name)), ("NumberOfEmployees", Value::Int(number))]),
        };
        let writes: Vec<Write> = (0..).zip(names).map(create).collect();
        self.target.write(&writes).await.unwrap().into_iter().map(|outcome| applied(outcome).0).collect()
    }

    async fn get(&self, key: &Key) -> Option<Record> {
        self.target.fetch(std::slice::from_ref(key)).await.unwrap().pop().unwrap()
    }

    async fn one(&self, write: Write) -> WriteOutcome {
        self.target.write(&[write]).await.unwrap().pop().unwrap()
    }

    /// All changes until a poll finds none, at most `max` at a time.
    async fn changes(&mut self, position: &mut Position, max: usize) -> Vec<(Key, Op)> {
        let mut changes = Vec::new();
        loop {
            let batch = tokio::time::timeout(TIMEOUT, self.source.next_batch(position, max)).await.unwrap().unwrap();
            *position = batch.through;
            let idle = batch.changes.is_empty() && !batch.more;
            changes.extend(batch.changes.into_iter().map(|change| (change.key, change.op)));
            if idle {
                return changes;
            }
        }
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn key(id: &str) -> Key {
    Key(vec![text(id)])
}

#[track_caller]
fn applied(outcome: WriteOutcome) -> (Key, Option<Record>) {
    match outcome {
        WriteOutcome::Applied { key, stored } => (key, stored),
        other => panic!("not applied: {other:?}"),
    }
}

fn names(records: &[Record]) -> Vec<Option<String>> {
    records.iter().map(|record| record.get("Name")?.to_text()).collect()
}

#[tokio::test]
async fn columns_key_and_unique_sets_and_near_names() {
    let org = Org::new().await;
    let connector = Salesforce::default();
    let schema = connector.describe(&endpoint(&org.sandbox, "Account")).await.unwrap();
    assert_eq!(schema.key, ["Id"]);
    assert!(schema.is_unique(&strings(&["Tidelock_Id__c"])) && !schema.is_unique(&strings(&["Legacy_Id__c"])));
    assert!(!schema.column("Id").unwrap().writable && !schema.column("Name").unwrap().nullable);
    let error = connector.describe(&endpoint(&org.sandbox, "Acount")).await.unwrap_err();
    assert!(error.kind == ErrorKind::SchemaMismatch && error.message.contains("Account"), "{error}");
    let error = connector.open(&endpoint(&org.sandbox, "Account"), &schema, options(&["Id", "Nmae"])).await;
    assert!(error.err().unwrap().message.contains("Nmae"));
}

#[tokio::test]
async fn fetch_and_find() {
    let org = Org::new().await;
    let keys = org.people(&["Ann", "Bob", "O'Neil \\ \"Co\"", "ann"]).await;
    let Value::Text(id) = &keys[0].0[0] else { panic!() };
    let asked =
        [keys[1].clone(), key("001000000000000AAA"), key("no id"), key(&id[..15]), keys[2].clone(), keys[1].clone()];
    let found = org.target.fetch(&asked).await.unwrap();
    let found: Vec<Option<String>> = found.iter().map(|record| record.as_ref()?.get("Name")?.to_text()).collect();
    let expected = [Some("Bob"), None, None, Some("Ann"), Some("O'Neil \\ \"Co\""), Some("Bob")];
    assert_eq!(found, expected.map(|name| name.map(str::to_owned)), "in order, with what is missing");
    assert_eq!(org.target.exists(&asked).await.unwrap(), [true, false, false, true, true, true]);
    assert_eq!(org.target.count().await.unwrap(), 4);
    let wanted = [key("Ann"), key("O'Neil \\ \"Co\""), key("nobody"), Key(vec![Value::Null]), key("' OR Name != '")];
    let found = org.target.find(&strings(&["Name"]), &wanted).await.unwrap();
    assert_eq!(
        found.iter().map(Vec::len).collect::<Vec<_>>(),
        [1, 1, 0, 0, 0],
        "capitals are a difference, null matches nothing"
    );
    let both = [Key(vec![text("Bob"), Value::Int(1)]), Key(vec![text("Bob"), Value::Int(2)])];
    let found = org.target.find(&strings(&["Name", "NumberOfEmployees"]), &both).await.unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
    let filtered = open(
        &Endpoint { filter: Some("NumberOfEmployees > 0".to_owned()), ..endpoint(&org.sandbox, "Account") },
        &FIELDS,
    )
    .await;
    let found = filtered.target.fetch(&keys[..2]).await.unwrap();
    assert!(found[0].is_none() && found[1].is_some(), "the filter is applied");
    assert_eq!(filtered.target.exists(&keys[..2]).await.unwrap(), [true, true], "and here it is not");
    assert_eq!(
        (
            filtered.target.count().await.unwrap(),
            scan_all(&*filtered.target, ScanOrder::Key(KeyRange::ALL), 2).await.len()
        ),
        (3, 3)
    );
}

#[tokio::test]
async fn scans() {
    for threshold in [0, 10] {
        let org = Org::with(|endpoint| endpoint.bulk_threshold = Some(threshold)).await;
        assert!(scan_all(&*org.target, ScanOrder::Key(KeyRange::ALL), 10).await.is_empty(), "an empty collection");
        let all: Vec<String> = (0..60).map(|number| format!("Account {}", number * 7 % 60)).collect();
        let keys = org.people(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for (number, key) in keys.iter().enumerate().filter(|(number, _)| number % 3 > 0) {
            let fields = Record::of([("Industry", text(["b", "B", "ä"][number % 3]))]);
            applied(org.one(Write::Update { key: key.clone(), fields, guard: None }).await);
        }
        for page in [1, 7, 60, 1000] {
            let records = scan_all(&*org.target, ScanOrder::Key(KeyRange::ALL), page).await;
            let ids: std::collections::BTreeSet<Option<Key>> =
                records.iter().map(|record| record.key(&["Id"])).collect();
            assert_eq!((records.len(), ids.len()), (60, 60), "each once, {page} at a time");
        }
        let order = |fields: &[&str], as_text| ScanOrder::Fields { fields: strings(fields), as_text };
        let by_value = scan_all(&*org.target, order(&["NumberOfEmployees"], false), 7).await;
        let numbers: Vec<Option<&Value>> = by_value.iter().map(|record| record.get("NumberOfEmployees")).collect();
        assert_eq!(numbers, (0..60).map(Value::Int).collect::<Vec<_>>().iter().map(Some).collect::<Vec<_>>());
        let by_text = scan_all(&*org.target, order(&["NumberOfEmployees"], true), 7).await;
        let numbers: Vec<String> =
            by_text.iter().map(|record| record.get("NumberOfEmployees").unwrap().to_text().unwrap()).collect();
        assert!(numbers.is_sorted() && numbers.len() == 60, "{numbers:?}");
        let both = scan_all(&*org.target, order(&["Industry", "Name"], false), 7).await;
        let keys: Vec<Key> = both.iter().filter_map(|record| record.key(&["Industry", "Name"])).collect();
        assert!(keys.is_sorted() && keys.len() == 40, "bytewise, and without nulls");
        let mut dropped = org.target.scan(ScanOrder::Key(KeyRange::ALL)).await.unwrap();
        dropped.next(1).await.unwrap();
        drop(dropped);
        assert_eq!(org.target.count().await.unwrap(), 60, "a dropped scan holds nothing up");
    }
}

#[tokio::test]
async fn creates() {
    let org = Org::new().await;
    let record = Record::of([
        ("Name", text(" Ann ")),
        ("Balance__c", Value::Decimal("1.005".to_owned())),
        ("Tidelock_Id__c", text("1")),
    ]);
    let (made, stored) = applied(org.one(Write::Create { record: record.clone() }).await);
    let stored = stored.unwrap();
    assert_eq!(
        (stored.key(&["Id"]), org.get(&made).await.as_ref()),
        (Some(made), Some(&stored)),
        "a generated key is returned"
    );
    assert_eq!(
        (stored.get("Name"), stored.get("Balance__c")),
        (Some(&text("Ann")), Some(&Value::Decimal("1.01".to_owned())))
    );
    assert_eq!(stored.get("Industry"), Some(&Value::Null));
    assert!(
        matches!(org.one(Write::Create { record }).await, WriteOutcome::Changed),
        "of an existing one changes nothing"
    );
    assert_eq!(org.target.count().await.unwrap(), 1);
    assert!(org.target.write(&[]).await.unwrap().is_empty());
    let create = |name: Value| Write::Create { record: Record::of([("Name", name)]) };
    let outcomes = org.target.write(&[create(text("Bob")), create(Value::Null), create(text("Cid"))]).await.unwrap();
    assert!(
        matches!(&outcomes[1], WriteOutcome::Failed(error) if error.kind == ErrorKind::InvalidRecord),
        "a bad record fails alone"
    );
    for (outcome, name) in outcomes.into_iter().step_by(2).zip(["Bob", "Cid"]) {
        assert_eq!(applied(outcome).1.unwrap().get("Name"), Some(&text(name)), "outcomes keep the order");
    }
}

#[tokio::test]
async fn guards() {
    let org = Org::new().await;
    let keys = org.people(&["Ann", "Bob", "Cid", "Dan"]).await;
    let industry = |value: Value| Record::of([("Industry", value)]);
    let update = |key: &Key, fields: Record, guard: Option<Record>| Write::Update { key: key.clone(), fields, guard };
    let now = org.get(&keys[0]).await.unwrap();
    let (_, stored) = applied(org.one(update(&keys[0], industry(text("Energy")), Some(now.clone()))).await);
    assert_eq!(stored.unwrap().get("Industry"), Some(&text("Energy")));
    for (field, other) in [
        ("Name", text("ann")),
        ("Industry", text("Energy2")),
        ("Industry", Value::Null),
        ("NumberOfEmployees", Value::Int(7)),
        ("NumberOfEmployees", Value::Null),
        ("Balance__c", Value::Decimal("0".to_owned())),
    ] {
        let guard = Record::of([(field, other)]);
        let outcome = org.one(update(&keys[0], industry(text("x")), Some(guard.clone()))).await;
        assert!(matches!(outcome, WriteOutcome::Changed), "guards see every difference: {field}");
        let outcome = org.one(Write::Delete { key: keys[0].clone(), guard: Some(guard) }).await;
        assert!(matches!(outcome, WriteOutcome::Changed), "{field}");
    }
    assert_eq!(org.get(&keys[0]).await.unwrap().get("Industry"), Some(&text("Energy")), "nothing was written");
    applied(org.one(update(&keys[0], industry(Value::Null), None)).await);
    applied(org.one(update(&keys[0], Record::of([("NumberOfEmployees", Value::Int(9))]), None)).await);
    let stored = org.get(&keys[0]).await.unwrap();
    assert_eq!(
        (stored.get("Industry"), stored.get("Name")),
        (Some(&Value::Null), Some(&text("Ann"))),
        "null and absent differ"
    );
    let bob = org.get(&keys[1]).await.unwrap();
    let writes = [
        update(&keys[2], industry(text("c")), Some(now)),
        Write::Delete { key: keys[1].clone(), guard: Some(bob.clone()) },
        update(&key("no id"), industry(text("x")), None),
        Write::Delete { key: keys[3].clone(), guard: None },
    ];
    let outcomes = org.target.write(&writes).await.unwrap();
    assert!(matches!(outcomes[0], WriteOutcome::Changed) && matches!(outcomes[2], WriteOutcome::Changed));
    assert!(matches!(&outcomes[1], WriteOutcome::Applied { key, stored: None } if *key == keys[1]));
    assert!(matches!(&outcomes[3], WriteOutcome::Applied { key, stored: None } if *key == keys[3]));
    applied(org.one(Write::Delete { key: keys[1].clone(), guard: None }).await);
    applied(org.one(Write::Delete { key: keys[1].clone(), guard: Some(bob.clone()) }).await);
    assert!(
        matches!(org.one(update(&keys[1], industry(text("x")), Some(bob))).await, WriteOutcome::Changed),
        "it is gone"
    );
}

#[tokio::test]
async fn upserts() {
    for threshold in [0, 3] {
        let org = Org::with(|endpoint| endpoint.bulk_threshold = Some(threshold)).await;
        let of = |id: &str, name: Value| Record::of([("Tidelock_Id__c", text(id)), ("Name", name)]);
        let upsert = async |records: &[Record]| {
            let done = org.target.upsert(records).await.unwrap();
            (done.written, done.unchanged, done.refused.into_iter().map(|(place, _)| place).collect::<Vec<_>>())
        };
        let all: Vec<Record> = (0..8).map(|id| of(&id.to_string(), text(&format!("n{id}")))).collect();
        assert_eq!(upsert(&all).await, (8, 0, vec![]));
        assert_eq!(upsert(&all).await, (0, 8, vec![]), "nothing to do");
        let mut mixed = all.clone();
        mixed[1] = of("1", text("N1"));
        mixed[4] = of("4", Value::Null);
        mixed.extend([of("8", text("new")), of("9", Value::Null), Record::of([("Tidelock_Id__c", text("2"))])]);
        mixed.remove(2);
        assert_eq!(upsert(&mixed).await, (2, 6, vec![3, 8]), "bad records are named, the others are done");
        assert_eq!(upsert(&[]).await, (0, 0, vec![]));
        let left = org.target.find(&strings(&["Tidelock_Id__c"]), &[key("4"), key("2"), key("1")]).await.unwrap();
        assert_eq!(
            names(&left.concat()),
            ["n4", "n2", "N1"].map(|name| Some(name.to_owned())),
            "absent fields are left alone"
        );
        let gone: Vec<Key> = (5..20).map(|id| key(&id.to_string())).collect();
        assert_eq!(org.target.delete_by_correlation(&gone).await.unwrap(), 4);
        assert_eq!((org.target.delete_by_correlation(&gone).await.unwrap(), org.target.count().await.unwrap()), (0, 5));
    }
}

#[tokio::test]
async fn polls() {
    let mut org = Org::new().await;
    org.people(&["before"]).await;
    org.source.prepare().await.unwrap();
    let begin = org.source.head().await.unwrap();
    org.sandbox.beside("POST", "clock", &json!({"advance_seconds": 5, "stop": true})).await;
    let mut position = begin.clone();
    org.changes(&mut position, 100).await;
    // All stamped within one second.
    let many: Vec<String> = (0..23).map(|number| format!("n{number}")).collect();
    let keys = org.people(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let start = position.clone();
    for max in [1, 2, 7, 23, 24, 100] {
        let mut position = start.clone();
        let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
        for (key, op) in org.changes(&mut position, max).await {
            assert_eq!(op, Op::Upsert);
            *seen.entry(key).or_default() += 1;
        }
        assert!(keys.iter().all(|key| seen.contains_key(key)), "{max} at a time: {} of 23", seen.len());
        assert!(org.changes(&mut position, max).await.is_empty(), "an idle collection is quiet");
    }
    let mut position = start;
    org.changes(&mut position, 100).await;
    org.sandbox.beside("POST", "clock", &json!({"advance_seconds": 2})).await;
    let Value::Text(id) = &keys[3].0[0] else { panic!() };
    org.sandbox.edit("Account", id, json!({"Industry": "Energy"})).await;
    let Value::Text(gone) = &keys[5].0[0] else { panic!() };
    org.sandbox.delete("Account", gone, false).await;
    let mut changes = org.changes(&mut position, 100).await;
    changes.sort_by_key(|(_, op)| *op == Op::Delete);
    assert_eq!(changes, [(keys[3].clone(), Op::Upsert), (keys[5].clone(), Op::Delete)]);
    let at = org.target.change_times(&[keys[3].clone(), keys[0].clone(), key("no id")]).await.unwrap();
    assert!(at[0] > at[1] && at[1].is_some() && at[2].is_none(), "{at:?}");
    let wait = std::time::Instant::now();
    org.source.wait(Duration::from_millis(50)).await.unwrap();
    assert!(wait.elapsed() < TIMEOUT, "wait ends at its timeout");
    org.source.acknowledge(&position).await.unwrap();
    let again = org.source.prepare().await.unwrap();
    assert_eq!(org.source.prepare().await.unwrap(), again, "prepare twice is once");
    // Elsewhere, from where it stood: everything since is there once more.
    let mut other = open(&endpoint(&org.sandbox, "Account"), &FIELDS).await.source;
    let batch = other.next_batch(&begin, 1000).await.unwrap();
    assert!(keys.iter().all(|key| batch.changes.iter().any(|change| change.key == *key)), "a replay delivers again");
}

#[tokio::test]
async fn creates_whose_answer_was_lost_are_found_by_their_names() {
    for threshold in [0, 2] {
        let org = Org::with(|endpoint| {
            endpoint.external_id = Some("Legacy_Id__c".to_owned());
            endpoint.bulk_threshold = Some(threshold);
        })
        .await;
        let mark = Mark { run: "run", number: 7, since: 1, first: 10 };
        let creates: Vec<Record> = (0..3).map(|number| Record::of([("Name", text(&format!("n{number}")))])).collect();
        let writes: Vec<Write> = creates.iter().map(|record| Write::Create { record: record.clone() }).collect();
        let outcomes = org.target.write_marked(&writes, Some(mark)).await.unwrap();
        let keys: Vec<Key> = outcomes.into_iter().map(|outcome| applied(outcome).0).collect();
        assert!(org.target.marks("run", 7).await.unwrap().is_none(), "no marks are kept");
        let Value::Text(id) = &keys[1].0[0] else { panic!() };
        org.sandbox.edit("Account", id, json!({"Name": "renamed", "Industry": "Energy"})).await;
        let asked: Vec<(usize, Record)> = (10..).zip(creates).collect();
        let made = org.target.made(mark, &asked).await.unwrap();
        let found: Vec<Option<Key>> = made.iter().map(|of| of.first()?.key(&["Id"])).collect();
        assert_eq!(found, keys.iter().cloned().map(Some).collect::<Vec<_>>());
        assert_eq!(made[1][0].get("Name"), Some(&text("n1")), "as it was made, so that the edit since is told");
        for other in [Mark { number: 8, ..mark }, Mark { run: "another", ..mark }] {
            let made = org.target.made(other, &asked).await.unwrap();
            assert!(made.iter().all(Vec::is_empty), "others' are not seen");
        }
        assert_eq!(org.sandbox.asked_for("POST jobs/ingest").await, u64::from(threshold > 0));
    }
}

#[tokio::test]
async fn values_come_back_or_are_refused() {
    let fields = ["Id", "Name", "Balance__c", "Active__c", "Renewal__c", "Last_Call__c", "Regions__c", "Description"];
    let folder = Tidelock::new();
    let sandbox = Sandbox::start(&folder, &["--empty"]).await;
    let target = open(&endpoint(&sandbox, "Account"), &fields).await.target;
    let values = [
        ("Name", text("naïve 数 \u{1f680}, \"q\" 'a' \\ #N/A")),
        ("Balance__c", Value::Decimal("-1234567890.12".to_owned())),
        ("Active__c", Value::Boolean(true)),
        ("Renewal__c", Value::Date(20_000)),
        ("Last_Call__c", Value::Instant(1_700_000_000_000_000)),
        ("Regions__c", text("North;West")),
        ("Description", text("two\nlines")),
    ];
    let written = target.write(&[Write::Create { record: Record::of(values.clone()) }]).await.unwrap().pop().unwrap();
    let (made, stored) = applied(written);
    let stored = stored.unwrap();
    for (name, value) in &values {
        assert_eq!(stored.get(name), Some(value), "{name}");
    }
    assert_eq!(scan_all(&*target, ScanOrder::Key(KeyRange::ALL), 10).await, [stored]);
    for (name, value) in [
        ("Name", text(&"x".repeat(256))),
        ("Balance__c", Value::Decimal("NaN".to_owned())),
        ("Balance__c", Value::Decimal("1e30".to_owned())),
        ("Active__c", Value::Null),
        ("Regions__c", text("Up")),
    ] {
        let write = Write::Update { key: made.clone(), fields: Record::of([(name, value)]), guard: None };
        let outcome = target.write(&[write]).await.unwrap().pop().unwrap();
        assert!(
            matches!(&outcome, WriteOutcome::Failed(error) if error.kind == ErrorKind::InvalidRecord),
            "{name}: {outcome:?}"
        );
    }
}
