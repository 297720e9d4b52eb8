//! What waits for a person, through the commands that people use: shown whole, decided, carried out once, never against a newer edit.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Kind, Setup};
use crate::harness::Ran;

impl Setup {
    /// `tidelock review … --json`, which must end with `code`.
    pub(super) fn review(&self, code: i32, arguments: &[&str]) -> Ran {
        let ran = self.tidelock.run(&[&["review"], arguments, &["--json"]].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {:?}\n{}", ran.lines, ran.errors);
        ran
    }

    /// The only open review.
    pub(super) fn waiting(&self) -> Value {
        let mut listed = self.review(0, &["list"]).lines;
        assert_eq!(listed.len(), 1, "{listed:?}");
        listed.remove(0)
    }

    fn nothing_waits(&self) {
        let listed = self.review(0, &["list"]).lines;
        assert!(listed.is_empty(), "{listed:?}");
    }

    async fn name(&self, id: u32) -> [String; 2] {
        let source = self.source.value(&format!("SELECT name FROM customers WHERE id = {id}")).await;
        let target = self.target.value(&format!("SELECT full_name FROM clients WHERE client_id = {id}")).await;
        [source.unwrap_or_default(), target.unwrap_or_default()]
    }

    async fn rename(&self, source: bool, name: &str) {
        if source {
            self.source.execute(&format!("UPDATE customers SET name = '{name}' WHERE id = 1")).await;
        } else {
            self.target.execute(&format!("UPDATE clients SET full_name = '{name}' WHERE client_id = 1")).await;
        }
    }
}

fn number(review: &Value) -> String {
    review["id"].to_string()
}

pub(super) fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("no text {key} in {of}"))
}

/// One record, agreed as 'o', whose name was then changed on both sides, and whose phone on the source alone.
pub(super) async fn contested(kinds: (Kind, Kind)) -> Setup {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "conflict_resolution": "manual"}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'o')").await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET name = 's', phone = '1' WHERE id = 1").await;
    setup.rename(false, "t").await;
    let ran = setup.tidelock.once(1);
    assert_eq!((ran.number("reviews"), ran.number("conflicts")), (1, 0), "{}", ran.lines[0]);
    setup
}

pub async fn a_person_decides(kinds: (Kind, Kind)) {
    let setup = contested(kinds).await;
    let review = setup.waiting();
    assert_eq!(
        (text(&review, "kind"), text(&review, "key"), &review["contested"]),
        ("conflict", "1", &json!(["full_name"]))
    );
    let id = number(&review);
    let shown = setup.review(0, &["show", &id]).lines.remove(0);
    let name = |image: &Value, field: &str| image[field].as_str().unwrap_or_default().to_owned();
    assert_eq!((name(&shown["source"], "name"), name(&shown["target"], "full_name")), ("s".into(), "t".into()));
    assert_eq!(name(&shown["base"]["source"], "name"), "o");
    let status = setup.tidelock.run(&["status", "--json"]);
    assert_eq!(status.lines[0]["reviews_by_kind"], json!({"conflict": 1}));
    assert_eq!(setup.tidelock.audit(0).number("in_review"), 1);

    // What cannot be meant is said, and nothing is kept of it.
    for (code, arguments) in [
        (2, &["resolve", &id][..]),
        (2, &["resolve", "--take", "source"]),
        (2, &["resolve", &id, "--take", "both"]),
        (2, &["resolve", &id, "--set", "full_name"]),
        (2, &["resolve", &id, "--set", "full_name=Ada"]),
        (2, &["resolve", &id, "--set", "full_name=1", "--set", "full_name=2"]),
        (2, &["resolve", &id, "--pair", "customers", "--take", "source"]),
        (2, &["resolve", "--pair", "customers", "--take", "source"]),
        (2, &["resolve", "--all", "--take", "source", "--version", "x"]),
        (2, &["list", "--kind", "none"]),
        (1, &["resolve", "99", "--take", "source"]),
        (1, &["resolve", "--code", "none", "--all", "--take", "source"]),
        (1, &["show", "99"]),
    ] {
        let ran = setup.review(code, arguments);
        assert!(ran.errors.contains("error"), "{arguments:?}: {}", ran.errors);
    }
    assert_eq!(setup.review(0, &["show", &id]).lines[0]["decisions"], json!([]));

    let kept = setup.review(0, &["resolve", &id, "--take", "target", "--actor", "ada"]).lines.remove(0);
    assert_eq!((&kept["verdict"], &kept["service_running"]), (&Value::Null, &json!(false)));
    // A second thought takes the first one's place.
    setup.review(0, &["resolve", &id, "--take", "source", "--actor", "bob"]);
    assert_eq!(setup.name(1).await, ["s", "t"], "nobody has carried it out");
    let ran = setup.tidelock.once(0);
    assert_eq!(ran.number("conflicts"), 1, "{}", ran.lines[0]);
    assert_eq!(setup.name(1).await, ["s", "s"]);
    setup.settled().await;
    setup.nothing_waits();
    let closed = setup.review(0, &["show", &id]).lines.remove(0);
    let verdicts: Vec<(&str, &str)> =
        closed["decisions"].as_array().unwrap().iter().map(|one| (text(one, "actor"), text(one, "verdict"))).collect();
    assert_eq!(verdicts, [("ada", "stale"), ("bob", "applied")]);
    setup.review(1, &["resolve", &id, "--take", "target"]);
}

/// With the configuration at hand and no service, at once: a value of the person's own reaches both sides, under the rules.
pub async fn at_once_with_the_configuration(kinds: (Kind, Kind)) {
    let setup = contested(kinds).await;
    let rules = json!([{"field": "name", "rule": "length", "max": 5}]);
    setup.configure(json!({"sync_type": "bidirectional", "conflict_resolution": "manual", "validation_rules": rules}));
    setup.tidelock.once(1);
    let id = number(&setup.waiting());
    let refused = setup.review(1, &["resolve", &id, "--set", "full_name=\"too long\"", "--config", "sync.json"]);
    assert_eq!(text(&refused.lines[0], "verdict"), "refused", "{}", refused.lines[0]);
    assert_eq!(setup.name(1).await, ["s", "t"], "I8");
    for wrong in ["nowhere=1", "client_id=2"] {
        let refused = setup.review(1, &["resolve", &id, "--set", wrong, "--config", "sync.json"]);
        assert_eq!(text(&refused.lines[0], "verdict"), "refused", "{}", refused.lines[0]);
    }
    let applied = setup.review(0, &["resolve", &id, "--set", "full_name=\"both\"", "--config", "sync.json"]);
    assert_eq!(text(&applied.lines[0], "verdict"), "applied", "{}", applied.lines[0]);
    assert_eq!(setup.name(1).await, ["both", "both"]);
    setup.settled().await;
    setup.nothing_waits();
}

/// Whichever side has moved on, whether a service runs or not: the decision is refused, and the review shows what there is.
pub async fn a_decision_that_comes_too_late(kinds: (Kind, Kind)) {
    for edited in [true, false] {
        let setup = contested(kinds).await;
        let review = setup.waiting();
        let (id, version) = (number(&review), text(&review, "version").to_owned());
        setup.rename(edited, "new").await;
        let late = ["resolve", &id, "--take", if edited { "target" } else { "source" }, "--version", &version];
        setup.review(0, &late);
        setup.tidelock.once(1);
        let expected = if edited { ["new", "t"] } else { ["s", "new"] };
        assert_eq!(setup.name(1).await, expected);
        let decisions = setup.review(0, &["show", &id]).lines.remove(0)["decisions"].take();
        assert_eq!(text(&decisions[0], "verdict"), "stale");
        let renewed = setup.waiting();
        assert_eq!(number(&renewed), id, "it is the same review");
        assert_ne!(text(&renewed, "version"), version);
        assert_eq!(renewed["later"], 1, "{renewed}");

        let mut service = setup.tidelock.serve();
        service.ready().await;
        let waited = setup.review(1, &[&late[..], &["--wait"]].concat());
        assert_eq!((text(&waited.lines[0], "verdict"), &waited.lines[0]["service_running"]), ("stale", &json!(true)));
        assert_eq!(setup.name(1).await, expected);
        let waited = setup.review(0, &["resolve", &id, "--take", late[3], "--wait"]);
        assert_eq!(text(&waited.lines[0], "verdict"), "applied");
        assert_eq!(service.stop(), 0, "{}", service.log());
        setup.settled().await;
    }
}

/// Later changes wait behind it and are counted; one that ends the matter clears it, and a decision about it comes too late.
pub async fn a_newer_edit_clears_it(kinds: (Kind, Kind)) {
    let setup = contested(kinds).await;
    let id = number(&setup.waiting());
    for city in ["a", "b"] {
        setup.source.execute(&format!("UPDATE customers SET city = '{city}' WHERE id = 1")).await;
        setup.tidelock.once(1);
    }
    assert_eq!(setup.waiting()["later"], 2);
    assert_eq!(setup.target.value("SELECT town FROM clients WHERE client_id = 1").await, None, "it waits behind it");
    setup.rename(false, "s").await;
    setup.tidelock.once(0);
    setup.nothing_waits();
    setup.settled().await;
    setup.review(1, &["resolve", &id, "--take", "target"]);
}

const MANY: u32 = 1_000;

/// Many records wait; the others are carried over as ever. Then all are decided in one go, under `kill -9`: nothing is lost or doubled,
/// and what was not carried out waits still.
pub async fn others_flow_while_many_wait(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let rules = json!([{"field": "phone", "rule": "length", "max": 3}]);
    setup.configure(
        json!({"sync_type": "bidirectional", "validation_rules": rules, "performance_settings": {"batch_size": 50}}),
    );
    let rows: Vec<String> = (1..=MANY).map(|id| format!("({id}, 'n{id}', 'too long')")).collect();
    setup.source.execute(&format!("INSERT INTO customers (id, name, phone) VALUES {}", rows.join(", "))).await;
    let ran = setup.tidelock.once(1);
    assert_eq!((ran.number("reviews"), ran.number("written_target")), (u64::from(MANY), 0));
    let mut service = setup.tidelock.serve();
    service.ready().await;
    setup.source.execute("INSERT INTO customers (id, name, phone) VALUES (0, 'flows', '1')").await;
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 0", "flows").await;
    setup.target.execute("UPDATE clients SET full_name = 'back' WHERE client_id = 0").await;
    setup.source.await_value("SELECT name FROM customers WHERE id = 0", "back").await;
    service.kill();

    let decided = setup.review(0, &["resolve", "--kind", "rejected", "--all", "--set", "phone=\"ok\""]);
    assert_eq!(decided.lines.len(), MANY as usize);
    let done = "SELECT CAST(count(*) AS TEXT) FROM clients WHERE phone = 'ok'";
    for goal in [1, MANY / 3, 2 * MANY / 3] {
        let mut service = setup.tidelock.serve();
        let begin = Instant::now();
        while setup.target.value(done).await.unwrap().parse::<u32>().unwrap() < goal {
            assert!(begin.elapsed() < Duration::from_secs(60), "{}", service.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        service.kill();
        let open = setup.review(0, &["list", "--limit", "100000"]).lines.len();
        let written: usize = setup.target.value(done).await.unwrap().parse().unwrap();
        assert!(open + written >= MANY as usize, "{open} wait, {written} are written");
    }
    setup.tidelock.once(0);
    setup.nothing_waits();
    assert_eq!(setup.target.value(done).await.unwrap(), MANY.to_string());
    setup.settled().await;
}

/// A unique value that is taken, and a match that is ambiguous: another try once the cause is gone, as often as one likes.
pub async fn another_try_once_the_cause_is_gone(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    // MySQL makes no index of a whole TEXT.
    let own = matches!(kinds.1, Kind::Mysql | Kind::MysqlLog) && !crate::harness::is_mariadb();
    let phone = if own { "phone(50)" } else { "phone" };
    setup.target.execute(&format!("CREATE UNIQUE INDEX one_phone ON clients ({phone})")).await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    setup.source.execute("INSERT INTO customers (id, name, phone) VALUES (1, 'Ada', '1'), (2, 'Bob', '1')").await;
    let ran = setup.tidelock.once(1);
    assert_eq!((ran.number("rejected"), ran.number("written_target")), (1, 1), "{}", ran.lines[0]);
    let review = setup.waiting();
    assert_eq!(text(&review, "kind"), "unique_violation", "{review}");
    let shown = setup.review(0, &["show", &number(&review)]).lines.remove(0);
    assert!(shown["source"]["phone"] == "1", "what is needed to see why: {shown}");
    let again = setup.review(1, &["retry", "--kind", "unique_violation", "--all", "--config", "sync.json"]);
    assert_eq!(text(&again.lines[0], "verdict"), "refused", "the cause is still there");
    let freed = if text(&review, "key") == "2" { 1 } else { 2 };
    setup.source.execute(&format!("UPDATE customers SET phone = NULL WHERE id = {freed}")).await;
    setup.review(0, &["retry", &number(&review)]);
    setup.tidelock.once(0);
    setup.nothing_waits();
    setup.settled().await;
}

pub async fn an_ambiguous_match_is_tried_again(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.without_shared_key(kinds, json!({})).await;
    setup.target.execute("DROP TABLE clients").await;
    let key = kinds.1.generated_key();
    setup.target.execute(&format!("CREATE TABLE clients (nr {key}, crm_id INTEGER, full_name TEXT, phone TEXT)")).await;
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    setup.target.execute("INSERT INTO clients (nr, crm_id, full_name) VALUES (1, 1, 'Ada'), (2, 1, 'Ada')").await;
    setup.tidelock.once(1);
    let kinds: Vec<Value> = setup.review(0, &["list", "--kind", "ambiguous"]).lines;
    assert!(!kinds.is_empty());
    assert_eq!(
        setup.source.value("SELECT CAST(count(*) AS TEXT) FROM customers").await.as_deref(),
        Some("1"),
        "never doubled"
    );
    setup.target.execute("DELETE FROM clients WHERE nr = 2").await;
    setup.review(0, &["retry", "--kind", "ambiguous", "--all", "--config", "sync.json"]);
    setup.nothing_waits();
    setup.tidelock.once(0);
    setup.tidelock.audit(0);
    assert_eq!(setup.source.value("SELECT CAST(count(*) AS TEXT) FROM customers").await.as_deref(), Some("1"));
}

/// Where the source is the system of record, a person's value stands at the target until the source's next edit.
pub async fn one_way_values_hold_until_the_next_edit(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let rules = json!([{"field": "phone", "rule": "length", "max": 3}]);
    setup.configure(json!({"sync_type": "one_way", "validation_rules": rules}));
    setup.source.execute("INSERT INTO customers (id, name, phone) VALUES (1, 'Ada', 'too long')").await;
    setup.tidelock.once(1);
    let id = number(&setup.waiting());
    let refused = setup.review(1, &["resolve", &id, "--set", "phone=\"long too\"", "--config", "sync.json"]);
    assert_eq!(text(&refused.lines[0], "verdict"), "refused");
    let refused = setup.review(1, &["resolve", &id, "--take", "target", "--config", "sync.json"]);
    assert_eq!(text(&refused.lines[0], "verdict"), "refused", "{}", refused.lines[0]);
    assert_eq!(setup.target.value("SELECT full_name FROM clients").await, None, "I8");
    setup.review(0, &["resolve", &id, "--set", "phone=\"own\"", "--config", "sync.json"]);
    let phone = async || setup.target.value("SELECT phone FROM clients WHERE client_id = 1").await.unwrap();
    assert_eq!(phone().await, "own");
    assert_eq!(setup.source.value("SELECT phone FROM customers").await.as_deref(), Some("too long"));
    setup.nothing_waits();
    setup.tidelock.once(0);
    assert_eq!(phone().await, "own");
    setup.source.execute("UPDATE customers SET phone = '1' WHERE id = 1").await;
    setup.tidelock.once(0);
    assert_eq!(phone().await, "1");
    setup.settled().await;
}

/// A plugin that failed is replaced by one that works: the records are tried again, in the order of their keys.
pub async fn a_plugin_is_replaced(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let folder = setup.tidelock.folder.path().join("plugins");
    std::fs::create_dir(&folder).unwrap();
    let put = |guest: &str| {
        let built = format!("{}/tests/guests/{guest}.wasm", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(built, folder.join("suffix.wasm")).unwrap()
    };
    put("suffix_bad");
    setup.configure(json!({"sync_type": "bidirectional", "field_mappings": [
        {"source": "id", "target": "client_id"},
        {"source": "name", "target": "full_name", "transformation": "add_suffix", "direction": "source_to_target"},
    ]}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Adam'), (2, 'Beth')").await;
    setup.tidelock.once(1);
    let listed = setup.review(0, &["list"]).lines;
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed.iter().all(|one| text(one, "kind") == "rejected" && one["digest"].is_string()), "{listed:?}");
    put("suffix_v1");
    let tried = setup.review(0, &["retry", "--code", "even", "--all", "--config", "sync.json"]);
    assert!(tried.lines.iter().all(|one| text(one, "verdict") == "applied"), "{:?}", tried.lines);
    setup.nothing_waits();
    assert_eq!(
        setup.target.rows("SELECT full_name FROM clients ORDER BY client_id").await.concat(),
        ["Adam-v1", "Beth-v1"].map(|name| Some(name.to_owned()))
    );
    setup.quiet();
}

/// A command that is killed while it decides has decided some, whole; the rest waits undecided, and the same command does it.
pub async fn a_decision_in_bulk_can_be_repeated(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let rules = json!([{"field": "phone", "rule": "length", "max": 3}]);
    setup.configure(json!({"sync_type": "bidirectional", "validation_rules": rules}));
    let rows: Vec<String> = (1..=3 * MANY).map(|id| format!("({id}, 'n{id}', 'too long')")).collect();
    setup.source.execute(&format!("INSERT INTO customers (id, name, phone) VALUES {}", rows.join(", "))).await;
    setup.tidelock.once(1);
    let command = ["review", "resolve", "--pair", "customers", "--all", "--set", "phone=\"ok\"", "--json"];
    for millis in [1, 20, 60] {
        let mut child = setup.tidelock.command(&command).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let decided = setup.tidelock.run(&command);
    assert_eq!((decided.code, decided.lines.len()), (0, 3 * MANY as usize), "{}", decided.errors);
    let ran = setup.tidelock.once(0);
    assert_eq!(ran.number("written_target"), u64::from(3 * MANY), "once each: {}", ran.lines[0]);
    setup.nothing_waits();
    setup.settled().await;
}
