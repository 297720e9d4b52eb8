//! `tidelock resync` and `audit --repair`: of some records or all, with one side as the winner, and while both sides are being edited.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::json;

use super::{Kind, Setup};
use crate::harness::Ran;

impl Setup {
    fn resync(&self, arguments: &[&str]) -> Ran {
        self.tidelock.run(&[&["resync", "customers", "--json"], arguments].concat())
    }

    /// Runs a command while other things go on.
    async fn beside(&self, arguments: &[&str]) -> (i32, String) {
        let output = tokio::process::Command::from(self.tidelock.command(arguments)).output().await.unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), text)
    }
}

/// What both sides must hold in the end: name (edited on the source) and phone (edited on the target) by id.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u32, (Option<String>, Option<String>)>,
    edits: u32,
}

impl Model {
    /// Edits of both sides, of different fields, births and deaths among them.
    async fn edit(&mut self, setup: &Setup) {
        self.edits += 1;
        let n = self.edits;
        let id = 1 + n * 7 % 40;
        setup.source.execute(&format!("UPDATE customers SET name = 's{n}' WHERE id = {id}")).await;
        self.rows.entry(id).or_default().0 = Some(format!("s{n}"));
        let id = 1 + n * 3 % 40;
        setup.target.execute(&format!("UPDATE clients SET phone = 't{n}' WHERE client_id = {id}")).await;
        self.rows.entry(id).or_default().1 = Some(format!("t{n}"));
        if n.is_multiple_of(3) {
            setup.source.execute(&format!("INSERT INTO customers (id, name) VALUES ({}, 'b{n}')", 1000 + n)).await;
            setup
                .target
                .execute(&format!("INSERT INTO clients (client_id, phone) VALUES ({}, 'b{n}')", 5000 + n))
                .await;
            self.rows.insert(1000 + n, (Some(format!("b{n}")), None));
            self.rows.insert(5000 + n, (None, Some(format!("b{n}"))));
        }
        if n.is_multiple_of(9) {
            setup.source.execute(&format!("DELETE FROM customers WHERE id = {}", 1000 + n)).await;
            setup.target.execute(&format!("DELETE FROM clients WHERE client_id = {}", 5000 + n)).await;
            self.rows.remove(&(1000 + n));
            self.rows.remove(&(5000 + n));
        }
    }

    /// Both sides are as the model says, no edit was overwritten, and the audit finds nothing.
    async fn holds(&self, setup: &Setup) {
        let row = |(id, (name, phone)): (&u32, &(Option<String>, Option<String>))| {
            vec![Some(id.to_string()), name.clone(), phone.clone(), None]
        };
        let expected: Vec<_> = self.rows.iter().map(row).collect();
        let (source, target) = setup.contents().await;
        assert_eq!(source, expected);
        assert_eq!(target, expected);
        let status = setup.tidelock.run(&["status", "--json"]);
        assert_eq!((status.number("conflicts"), status.number("reviews")), (0, 0), "{:?}", status.lines);
        setup.settled().await;
    }
}

/// Forty records on both sides, agreed about.
async fn forty(kinds: (Kind, Kind)) -> (Setup, Model) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "delete_guard": false}));
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, 'n{id}')")).collect();
    setup.source.execute(&format!("INSERT INTO customers (id, name) VALUES {}", rows.join(", "))).await;
    setup.tidelock.once(0);
    let rows = (1..=40).map(|id| (id, (Some(format!("n{id}")), None))).collect();
    (setup, Model { rows, edits: 0 })
}

pub async fn a_resync_while_both_sides_are_edited(kinds: (Kind, Kind)) {
    let (setup, mut model) = forty(kinds).await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    let through = Cell::new(false);
    let commands = async {
        let all: [&[&str]; 4] =
            [&[], &["--filter", "id % 2 = 0"], &["--side", "target"], &["--key", "3", "--key", "1003", "--key", "77"]];
        for arguments in all.into_iter().chain([[].as_slice()]) {
            let (code, text) = setup.beside(&[&["resync", "customers", "--json", "--wait"], arguments].concat()).await;
            assert_eq!(code, 0, "{arguments:?}: {text}\n{}", service.log());
        }
        through.set(true);
    };
    let edits = async {
        while !through.get() || model.edits < 60 {
            model.edit(&setup).await;
        }
    };
    tokio::join!(commands, edits);
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.tidelock.once(0);
    model.holds(&setup).await;
}

pub async fn a_repair_while_both_sides_are_edited(kinds: (Kind, Kind)) {
    let (setup, mut model) = forty(kinds).await;
    for _ in 0..20 {
        model.edit(&setup).await;
    }
    let through = Cell::new(false);
    let commands = async {
        for _ in 0..3 {
            let (code, text) = setup.beside(&["audit", "sync.json", "--repair", "--json"]).await;
            assert!([0, 3].contains(&code), "{code}: {text}");
        }
        through.set(true);
    };
    let edits = async {
        while !through.get() {
            model.edit(&setup).await;
        }
    };
    tokio::join!(commands, edits);
    setup.tidelock.once(0);
    model.holds(&setup).await;
}

pub async fn one_side_wins_where_that_is_asked_for(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "conflict_resolution": "manual", "deletes": "ignore"}));
    setup
        .source
        .execute(
            "INSERT INTO customers (id, name, city) VALUES (1, 'a', 'A'), (2, 'b', 'B'), (3, 'c', 'C'), (4, 'd', 'D')",
        )
        .await;
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET name = 's', city = 'S' WHERE id < 4").await;
    setup
        .target
        .execute("UPDATE clients SET full_name = 't' WHERE client_id < 4; DELETE FROM clients WHERE client_id = 4")
        .await;
    setup.tidelock.once(1);
    // Asked for while nothing runs, carried out by the next run: whatever differs is the winner's.
    assert_eq!(setup.resync(&["--key", "1", "--from", "target"]).code, 0);
    assert_eq!(setup.resync(&["--filter", "id >= 2", "--from", "source"]).code, 0);
    setup.tidelock.once(0);
    let rows = "SELECT full_name, town FROM clients ORDER BY client_id";
    let text = |parts: [&str; 2]| parts.map(|part| Some(part.to_owned())).to_vec();
    assert_eq!(setup.target.rows(rows).await, [text(["t", "A"]), text(["s", "S"]), text(["s", "S"]), text(["d", "D"])]);
    setup.settled().await;
    for (key, winner) in [("1", "target"), ("2", "source")] {
        let told = setup.tidelock.run(&["explain", "customers", key, "--json"]);
        let conflict = told.lines[0]["history"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["what"] == "conflict" && entry["field"] == "full_name");
        let conflict = conflict.unwrap_or_else(|| panic!("not on record: {}", told.lines[0]));
        assert_eq!(
            (&conflict["winner"], &conflict["source"], &conflict["target"]),
            (&json!(winner), &json!("s"), &json!("t"))
        );
    }
}

pub async fn what_cannot_be_meant_is_refused(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'a')").await;
    setup.tidelock.once(0);
    let mut service = setup.tidelock.serve();
    service.ready().await;
    let wrong: [&[&str]; 5] = [
        &["--key", "x"],
        &["--key", "[1, 2]"],
        &["--filter", "no_such_column = 1"],
        &["--from", "target"],
        &["--side", "target"],
    ];
    for arguments in wrong {
        let ran = setup.resync(&[arguments, &["--wait"]].concat());
        let error = &ran.lines[0]["outcome"]["error"];
        assert_eq!((ran.code, &error["code"]), (1, &json!("resync.refused")), "{arguments:?}: {:?}", ran.lines);
    }
    let well = setup.resync(&["--key", "1", "--wait"]);
    assert_eq!((well.code, &well.lines[0]["outcome"]["looked_at"]), (0, &json!(1)), "{:?} {}", well.lines, well.errors);
    assert_eq!(setup.resync(&["--key", "1", "--filter", "true"]).code, 2, "one of them");
    assert_eq!(service.stop(), 0, "{}", service.log());
    assert_eq!(setup.tidelock.run(&["resync", "others"]).code, 1);
}
