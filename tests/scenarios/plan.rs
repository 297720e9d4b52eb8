//! `tidelock plan` tells beforehand exactly what a run does, and writes nothing; `tidelock audit --repair` mends what differs.

use serde_json::{Value, json};

use super::{Kind, Setup};

impl Setup {
    /// `tidelock plan` with more arguments, which must end with `code`; nothing may have changed by it.
    async fn plan(&self, code: i32, more: &[&str]) -> Value {
        let before = (self.everything().await, self.state().await);
        let ran = self.tidelock.run(&[&["plan", "sync.json", "--json"], more].concat());
        assert_eq!(ran.code, code, "{:?}\n{}", ran.lines, ran.errors);
        assert_eq!((self.everything().await, self.state().await), before, "a plan writes nothing");
        ran.lines.into_iter().next().unwrap()
    }

    /// The state file's bytes, where there is one. What a run has left in the log is brought into it first: whoever closes the file last
    /// does that, also one who only read.
    async fn state(&self) -> Option<Vec<u8>> {
        let path = self.tidelock.folder.path().join("tidelock.db");
        if !path.exists() {
            return None;
        }
        crate::harness::Database::Sqlite(path.clone()).execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        std::fs::read(path).ok()
    }

    /// Both tables whole, and how many objects each database has.
    async fn everything(&self) -> Vec<Vec<Vec<Option<String>>>> {
        let mut all = vec![
            self.source.rows("SELECT CAST(id AS TEXT), name, phone, city FROM customers ORDER BY id").await,
            self.target
                .rows("SELECT CAST(client_id AS TEXT), full_name, phone, town FROM clients ORDER BY client_id")
                .await,
        ];
        for database in [&self.source, &self.target] {
            let sql = match database {
                crate::harness::Database::Sqlite(_) => "SELECT name FROM sqlite_master ORDER BY name",
                crate::harness::Database::Postgres { .. } => {
                    "SELECT CAST(oid AS TEXT) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid"
                }
                crate::harness::Database::Mysql { .. } => {
                    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1"
                }
            };
            all.push(database.rows(sql).await);
        }
        all
    }
}

/// Creates, updates and deletes of both sides.
fn writes(of: &Value) -> [u64; 6] {
    let count = |side: &str, op: &str| of[side][op].as_u64().unwrap();
    ["source", "target"]
        .map(|side| ["creates", "updates", "deletes"].map(|op| count(side, op)))
        .concat()
        .try_into()
        .unwrap()
}

pub async fn a_plan_tells_what_a_run_does(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional",
        "conflict_resolution": {"strategy": "system_priority", "priority_system": "erp"}}));
    setup
        .source
        .execute(
            "INSERT INTO customers (id, name, city) VALUES (1, 'Ada', NULL), (2, 'Bob', 'Bonn'), (3, 'Cid', 'Celle')",
        )
        .await;
    setup
        .target
        .execute("INSERT INTO clients (client_id, full_name, town) VALUES (1, 'Ada', 'Aachen'), (4, 'Dot', NULL)")
        .await;
    let plan = setup.plan(0, &[]).await;
    assert_eq!(writes(&plan), [1, 1, 0, 2, 0, 0], "{plan}");
    assert_eq!(plan["makes_tracking"], json!({"source": true, "target": true}));
    let sample = plan["samples"].as_array().unwrap().iter().find(|sample| sample["op"] == "update").unwrap();
    assert_eq!((&sample["side"], &sample["key"]), (&json!("source"), &json!("1")));
    assert_eq!(sample["fields"], json!({"city": {"from": null, "to": "Aachen"}}));
    setup.plan(3, &["--exit-code"]).await;
    let run = setup.tidelock.once(0);
    assert_eq!((run.number("written_source"), run.number("written_target")), (2, 2), "{}", run.lines[0]);
    let quiet = setup.plan(0, &["--exit-code"]).await;
    assert_eq!((writes(&quiet), &quiet["makes_tracking"]["source"]), ([0; 6], &json!(false)), "{quiet}");

    // Edits on both sides, a conflict and deletes among them: each is told once, whichever side it is seen from.
    setup
        .source
        .execute("UPDATE customers SET name = 'Ida', city = 'Aalen' WHERE id = 1; DELETE FROM customers WHERE id = 2")
        .await;
    setup
        .target
        .execute("UPDATE clients SET full_name = 'Eda' WHERE client_id = 1; DELETE FROM clients WHERE client_id = 3")
        .await;
    let plan = setup.plan(0, &[]).await;
    assert_eq!(writes(&plan), [0, 1, 1, 0, 1, 1], "{plan}");
    assert_eq!(plan["conflicts"], 1);
    let conflicts = plan["conflict_samples"].as_array().unwrap();
    assert_eq!(conflicts.len(), 1, "{plan}");
    assert_eq!((&conflicts[0]["field"], &conflicts[0]["winner"]), (&json!("full_name"), &json!("target")));
    let run = setup.tidelock.once(0);
    assert_eq!((run.number("written_source"), run.number("written_target")), (2, 2), "{}", run.lines[0]);
    setup.settled().await;
}

pub async fn a_plan_of_a_copy(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"validation_rules": [{"field": "name", "rule": "required", "on_error": "reject_record"}]}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob'), (3, NULL)").await;
    setup.target.execute("INSERT INTO clients (client_id, full_name) VALUES (2, 'Rob')").await;
    let plan = setup.plan(0, &[]).await;
    assert_eq!(writes(&plan), [0, 0, 0, 1, 1, 0], "{plan}");
    assert_eq!(plan["reviews"], json!({"rejected": 1}), "{plan}");
    let run = setup.tidelock.once(1);
    assert_eq!((run.number("written_target"), run.number("rejected")), (2, 1), "{}", run.lines[0]);
    assert_eq!(writes(&setup.plan(0, &[]).await), [0; 6]);
    // Deletes are known from the stream: of what comes back nothing is deleted.
    setup
        .source
        .execute("DELETE FROM customers WHERE id IN (1, 2); INSERT INTO customers (id, name) VALUES (2, 'Bob')")
        .await;
    let plan = setup.plan(0, &[]).await;
    assert_eq!((writes(&plan), &plan["deletes_known"]), ([0, 0, 0, 0, 0, 1], &json!(true)), "{plan}");
    let run = setup.tidelock.once(1);
    assert_eq!(run.number("written_target"), 1, "{}", run.lines[0]);
}

/// What a plan looks at stays as it is to the last byte, its way of writing too.
pub async fn a_plan_leaves_files_alone(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    for database in [&setup.source, &setup.target] {
        if let crate::harness::Database::Sqlite(_) = database {
            database.execute("PRAGMA journal_mode = DELETE").await;
        }
    }
    let files = || {
        let all = [&setup.source, &setup.target].into_iter().filter_map(|database| match database {
            crate::harness::Database::Sqlite(path) => {
                Some((std::fs::read(path).unwrap(), path.with_extension("db-wal").exists()))
            }
            crate::harness::Database::Postgres { .. } | crate::harness::Database::Mysql { .. } => None,
        });
        all.collect::<Vec<_>>()
    };
    for rollout in [json!({}), json!({"mode": "read_only"})] {
        setup.configure(json!({"sync_type": "bidirectional", "rollout": rollout}));
        let before = files();
        assert_eq!(setup.tidelock.run(&["plan", "sync.json"]).code, 0);
        assert_eq!(setup.tidelock.audit(3).number("missing_in_target"), 1);
        if rollout["mode"] == "read_only" {
            assert_eq!(setup.tidelock.once(0).lines[0]["would"]["target"]["creates"], 1);
        }
        assert!(files() == before, "a file has changed");
    }
}

pub async fn an_audit_repairs_what_differs(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional"}));
    let audit =
        |arguments: &[&str]| setup.tidelock.run(&[&["audit", "sync.json", "--json", "--repair"], arguments].concat());
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    assert_eq!(audit(&[]).code, 1, "nothing was agreed yet");
    setup.tidelock.once(0);
    setup.target.execute("UPDATE clients SET full_name = 'Ida' WHERE client_id = 1").await;
    setup.source.execute("INSERT INTO customers (id, name) VALUES (3, 'Cid')").await;
    let before = setup.contents().await;
    let rehearsed = audit(&["--dry-run"]);
    assert_eq!(rehearsed.code, 3, "{}", rehearsed.errors);
    assert_eq!(writes(&rehearsed.lines[0]["repair"]["would"]), [0, 1, 0, 1, 0, 0], "{}", rehearsed.lines[0]);
    assert_eq!(setup.contents().await, before, "a dry run writes nothing");
    let some = audit(&["--limit", "1"]);
    assert_eq!(some.code, 3, "one of two is left: {:?}", some.lines);
    let rest = audit(&["--rate", "1000"]);
    assert_eq!(rest.code, 0, "{:?} {}", rest.lines, rest.errors);
    assert_eq!(rest.number("matching"), 3);
    let (source, target) = setup.contents().await;
    assert_eq!(source, target);
    assert_eq!(source[0][1].as_deref(), Some("Ida"), "the newer edit has won");
    setup.settled().await;
}
