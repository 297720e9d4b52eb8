//! The process dies, at every durable step and at random moments under load: nothing lost, doubled or looping (I11). What must be there
//! in the end is kept by the test itself, from what its users did.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tidelock::telemetry::CrashPoint;

use super::{Kind, Setup};

/// Random kills in each of the two tests; with the four combinations of databases 200 in all.
const KILLS: u64 = 25;

const SIGABRT: i32 = 6;

/// Spread over the run without a pattern: a multiplicative hash of the round.
pub(super) fn moment_ms(round: u64, span: u64) -> u64 {
    round.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) % span
}

/// What users did: name → phone of every record that must be on both sides.
type Model = BTreeMap<String, Option<String>>;

impl Setup {
    /// Both sides' records by name; a name that is there twice is a record that was doubled.
    async fn by_name(&self) -> (Model, Model) {
        let model = |rows: Vec<Vec<Option<String>>>| {
            let count = rows.len();
            let model: Model = rows.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone())).collect();
            assert_eq!(model.len(), count, "doubled");
            model
        };
        (
            model(self.source.rows("SELECT name, phone FROM customers").await),
            model(self.target.rows("SELECT full_name, phone FROM clients").await),
        )
    }

    /// What the state file says.
    async fn kept(&self, sql: &str) -> Option<String> {
        let state = crate::harness::Database::Sqlite(self.tidelock.folder.path().join("tidelock.db"));
        state.value(sql).await
    }

    /// Conflicts on record: settled, and not.
    async fn conflicts(&self) -> (u64, u64) {
        let count = async |settled: u32| {
            let sql = format!("SELECT count(*) || '' FROM conflicts WHERE settled = {settled}");
            self.kept(&sql).await.unwrap().parse().unwrap()
        };
        (count(1).await, count(0).await)
    }

    /// Runs once with `armed`, which must kill it.
    pub fn dies_at(&self, armed: &str) {
        dies_at(&self.tidelock, armed);
    }
}

/// Runs once with `armed`, which must kill it.
pub(super) fn dies_at(tidelock: &crate::harness::Tidelock, armed: &str) {
    let mut command = tidelock.command(&["run", "sync.json", "--once", "--json"]);
    let ran = command.env("TIDELOCK_CRASH_AT", armed).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.signal(), Some(SIGABRT), "{armed} was not reached: {}\n{said}", ran.status);
}

/// The hardest case: keys are generated and written back, and both sides edit the same record.
const HARDEST: &str = r#"{"delete_guard": false, "performance_settings": {"batch_size": 2}, "conflict_resolution": {"strategy": "system_priority", "priority_system": "crm"}}"#;

/// What happens on both sides before each crash, the conflict that the source wins included.
async fn edit_both_sides(setup: &Setup, model: &mut Model, round: usize) {
    let before = round.checked_sub(1);
    for (side, table, name) in [("s", "customers", "name"), ("t", "clients", "full_name")] {
        let mut sql = format!(
            "INSERT INTO {table} ({name}, phone) VALUES ('{side}{round}', '{round}'), ('{side}{round} stays', NULL);
             UPDATE {table} SET phone = '{side}{round}' WHERE {name} = 'both';"
        );
        model.insert(format!("{side}{round}"), Some(round.to_string()));
        model.insert(format!("{side}{round} stays"), None);
        if let Some(before) = before {
            sql.push_str(&format!("DELETE FROM {table} WHERE {name} = '{side}{before}';"));
            model.remove(&format!("{side}{before}"));
        }
        if side == "s" { &setup.source } else { &setup.target }.execute(&sql).await;
    }
    model.insert("both".to_owned(), Some(format!("s{round}")));
}

/// Where a crash is provoked, and the second time that the same place is passed.
pub(super) fn crashes() -> impl Iterator<Item = (CrashPoint, String)> {
    // A state file of an earlier version is another test's.
    let points = CrashPoint::ALL.into_iter().filter(|point| *point != CrashPoint::StateMigrated);
    points.flat_map(|point| {
        let again = match point {
            CrashPoint::WrittenTarget
            | CrashPoint::WrittenSource
            | CrashPoint::BatchCommitted
            | CrashPoint::Acknowledged => Some((point, format!("{}:2", point.name()))),
            CrashPoint::StateMigrated
            | CrashPoint::TrackingMade
            | CrashPoint::Recovered
            | CrashPoint::LoadBegun
            | CrashPoint::LoadScanned
            | CrashPoint::LoadEnded
            | CrashPoint::Intended => None,
        };
        [(point, point.name().to_owned())].into_iter().chain(again)
    })
}

pub(super) fn is_of_a_load(point: CrashPoint) -> bool {
    matches!(point, CrashPoint::LoadBegun | CrashPoint::LoadScanned | CrashPoint::LoadEnded)
}

pub async fn at_every_durable_step(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, serde_json::from_str(HARDEST).unwrap()).await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('both')").await;
    setup.tidelock.once(0);
    let mut model = Model::from([("both".to_owned(), None)]);
    for (round, (point, armed)) in crashes().enumerate() {
        edit_both_sides(&setup, &mut model, round).await;
        if is_of_a_load(point) {
            assert_eq!(setup.tidelock.run(&["resync", "customers"]).code, 0);
        }
        setup.dies_at(&armed);
        setup.tidelock.once(0);
        let (source, target) = setup.by_name().await;
        assert_eq!(source, model, "source after {armed}");
        assert_eq!(target, model, "target after {armed}");
        // One a round: on record once, however often its batch was begun.
        assert_eq!(setup.conflicts().await, (round as u64 + 1, 0), "{armed}");
    }
    setup.quiet();
    setup.tidelock.audit(0);
}

/// The short way of one-way pairs.
pub async fn a_copy_at_every_durable_step(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"delete_guard": false, "performance_settings": {"batch_size": 2}}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    setup.tidelock.once(0);
    let linked = [CrashPoint::Intended, CrashPoint::WrittenSource];
    for (round, (point, armed)) in crashes().filter(|(point, _)| !linked.contains(point)).enumerate() {
        let id = 10 * (round + 1);
        let born: Vec<String> = (0..5).map(|n| format!("({}, 'n{n}')", id + n)).collect();
        let edit = format!(
            "INSERT INTO customers (id, name) VALUES {}; UPDATE customers SET phone = '{round}' WHERE id = 1;
             DELETE FROM customers WHERE id = {}",
            born.join(", "),
            id - 10
        );
        setup.source.execute(&edit).await;
        if is_of_a_load(point) {
            // A load of a copy writes what is there; what was deleted is seen as a change before it.
            setup.tidelock.once(0);
            assert_eq!(setup.tidelock.run(&["resync", "customers"]).code, 0);
        }
        setup.dies_at(&armed);
        setup.tidelock.once(0);
        let (source, target) = setup.contents().await;
        assert_eq!(source, target, "{armed}");
    }
    setup.settled().await;
}

pub async fn during_the_initial_load(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, json!({"performance_settings": {"batch_size": 100}})).await;
    let mut model = Model::new();
    for round in 0..KILLS {
        for (side, database, table, name) in
            [("s", &setup.source, "customers", "name"), ("t", &setup.target, "clients", "full_name")]
        {
            // There is work for every round: thousands at first, then more each time.
            let names: Vec<String> =
                (0..if round == 0 { 1_000 } else { 100 }).map(|n| format!("{side}{round}_{n}")).collect();
            let rows: Vec<String> = names.iter().map(|name| format!("('{name}')")).collect();
            database.execute(&format!("INSERT INTO {table} ({name}) VALUES {}", rows.join(", "))).await;
            model.extend(names.into_iter().map(|name| (name, None)));
        }
        let mut child = setup
            .tidelock
            .command(&["run", "sync.json", "--once"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(60 + moment_ms(round, 500))).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    setup.tidelock.once(0);
    let (source, target) = setup.by_name().await;
    assert!(source == model, "lost: {} of {} on the source", source.len(), model.len());
    assert!(target == model, "lost: {} of {} on the target", target.len(), model.len());
    setup.quiet();
    setup.tidelock.audit(0);
}

/// A load that was stopped does not begin anew: what it had carried over is not read again, and what became of it meanwhile is told by the
/// changes.
pub async fn a_load_goes_on_where_it_was_stopped(kinds: (Kind, Kind)) {
    const ROWS: u64 = 200;
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, serde_json::from_str(HARDEST).unwrap()).await;
    let rows: Vec<String> = (0..ROWS).map(|number| format!("('n{number}')")).collect();
    setup.source.execute(&format!("INSERT INTO customers (name) VALUES {}", rows.join(", "))).await;
    // Of 80 batches of two records 64 are kept as done.
    setup.dies_at("batch.committed:80");
    let first = "(SELECT id FROM (SELECT min(id) + 10 AS id FROM customers) AS t)";
    let meanwhile = format!(
        "UPDATE customers SET phone = '1' WHERE id = {first}; DELETE FROM customers WHERE name = 'n3'; DELETE FROM customers WHERE name = 'n190';
         INSERT INTO customers (name) VALUES ('late')"
    );
    for statement in meanwhile.split(';') {
        setup.source.execute(statement).await;
    }
    setup.dies_at("load.scanned");
    let kept = setup.kept("SELECT coalesce(load_side, 'both') FROM pairs").await;
    assert_eq!(kept.as_deref(), Some("both"), "both sides are through");
    let read = setup.kept("SELECT read || '' FROM pairs").await.unwrap().parse::<u64>().unwrap();
    assert!(read < 2 * ROWS + 60, "{read} records were read until then: the first side's were read twice");
    let ran = setup.tidelock.once(0);
    assert!(ran.number("read") < 20, "of a load that was through: {}", ran.lines[0]);
    let (source, target) = setup.by_name().await;
    assert_eq!(source, target);
    assert_eq!((source.len() as u64, source["n10"].as_deref()), (ROWS - 1, Some("1")));
    setup.quiet();
    setup.tidelock.audit(0);
    // A load that somebody asks for begins at the first record.
    assert_eq!(setup.tidelock.run(&["resync", "customers"]).code, 0);
    let ran = setup.tidelock.once(0);
    assert!(ran.number("read") >= 2 * (ROWS - 1), "{}", ran.lines[0]);
}

/// One step of both sides' users while the service runs: births, deaths, edits of records of their own and of the same one. `own` is what
/// they set in their own record.
async fn edit_live(setup: &Setup, model: &mut Model, step: u64, own: Option<u64>) {
    for (side, database, table, name) in
        [("s", &setup.source, "customers", "name"), ("t", &setup.target, "clients", "full_name")]
    {
        let dies = step.checked_sub(3).filter(|step| step % 3 != 0);
        let phone = own.map_or_else(|| "NULL".to_owned(), |own| format!("'{own}'"));
        let mut sql = format!(
            "INSERT INTO {table} ({name}) VALUES ('{side}{step}');
             UPDATE {table} SET phone = {phone} WHERE {name} = '{side}';
             UPDATE {table} SET phone = '{side}{step}' WHERE {name} = 'both';"
        );
        model.insert(format!("{side}{step}"), None);
        model.insert(side.to_owned(), own.map(|own| own.to_string()));
        if let Some(dies) = dies {
            sql.push_str(&format!("DELETE FROM {table} WHERE {name} = '{side}{dies}';"));
            model.remove(&format!("{side}{dies}"));
        }
        database.execute(&sql).await;
    }
}

pub async fn during_ongoing_sync(kinds: (Kind, Kind)) {
    ongoing(kinds, json!({"delete_guard": false, "performance_settings": {"batch_size": 2}}), Some).await;
}

/// What nobody else has edited is never lost to the priority of the other side, also where values come back: a kill leaves no write of ours
/// that could be taken for an edit.
pub async fn during_ongoing_sync_under_a_priority(kinds: (Kind, Kind)) {
    let few = |step: u64| Some(step % 3).filter(|value| *value > 0);
    ongoing(kinds, serde_json::from_str(HARDEST).unwrap(), few).await;
}

async fn ongoing(kinds: (Kind, Kind), settings: serde_json::Value, own: impl Fn(u64) -> Option<u64>) {
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, settings).await;
    setup.source.execute("INSERT INTO customers (name) VALUES ('s'), ('t'), ('both')").await;
    setup.tidelock.once(0);
    let mut model = Model::new();
    let mut step = 0;
    for round in 0..KILLS {
        let mut service = setup.tidelock.serve();
        service.address().await;
        let end = tokio::time::Instant::now() + Duration::from_millis(20 + moment_ms(round, 300));
        while tokio::time::Instant::now() < end {
            edit_live(&setup, &mut model, step, own(step)).await;
            step += 1;
        }
        service.kill();
    }
    setup.tidelock.once(0);
    let (mut source, mut target) = setup.by_name().await;
    // Of the record that both sides edited at the same time, one of the two last edits is left, the same on both sides.
    let both = (source.remove("both").flatten(), target.remove("both").flatten());
    assert_eq!(both.0, both.1);
    let last = [format!("s{}", step - 1), format!("t{}", step - 1)];
    let left = both.0.filter(|left| last.contains(left)).expect("a value that nobody wrote last");
    assert_eq!(source, model, "lost, doubled or risen from the dead on the source");
    assert_eq!(target, model, "lost, doubled or risen from the dead on the target");
    let (settled, open) = setup.conflicts().await;
    assert_eq!(open, 0);
    // The target's user wrote last: where that is not what is left, it was overwritten, which is on record (I6).
    assert!(left.starts_with('t') || settled > 0, "overwritten without a record");
    setup.quiet();
    setup.tidelock.audit(0);
}
