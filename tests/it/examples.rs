//! The examples that run do what their READMEs say.

use std::path::Path;

use crate::harness::{Database, Tidelock};

type Rows = Vec<Vec<Option<String>>>;

fn rows(expected: &[[&str; 2]]) -> Rows {
    expected.iter().map(|row| row.iter().map(|value| Some((*value).to_owned())).collect()).collect()
}

#[tokio::test]
async fn hub_and_spoke() {
    let tidelock = Tidelock::new();
    let example = Path::new("examples/hub-and-spoke");
    let mut databases = Vec::new();
    for name in ["hub", "shop", "support"] {
        let database = Database::sqlite(tidelock.folder.path(), &format!("{name}.db")).await;
        database.execute(&std::fs::read_to_string(example.join(format!("{name}.sql"))).unwrap()).await;
        databases.push(database);
    }
    std::fs::copy(example.join("sync.json"), tidelock.folder.path().join("sync.json")).unwrap();
    let checked = tidelock.run(&["check", "sync.json", "--connect"]);
    assert_eq!(checked.code, 0, "{}", checked.errors);
    tidelock.once(0);

    let people = [
        "SELECT p.name, a.name FROM people p JOIN accounts a ON a.id = p.account_id ORDER BY p.name",
        "SELECT b.name, c.company FROM buyers b JOIN customers c ON c.id = b.customer_id ORDER BY b.name",
        "SELECT r.full_name, o.title FROM requesters r JOIN organizations o ON o.key = r.organization ORDER BY r.full_name",
    ];
    let expected = rows(&[
        ["Bill Lumbergh", "Initech"],
        ["Gavin Belson", "Hooli"],
        ["Hank Scorpio", "Globex"],
        ["Wile E. Coyote", "Acme"],
    ]);
    let accounts = ["SELECT name FROM accounts", "SELECT company FROM customers", "SELECT title FROM organizations"];
    for ((database, people), accounts) in databases.iter().zip(people).zip(accounts) {
        assert_eq!(database.rows(people).await, expected);
        assert_eq!(database.rows(accounts).await.len(), 4, "no account is doubled");
    }
    let phone = databases[0].value("SELECT phone FROM accounts WHERE id = 501").await;
    assert_eq!(phone.as_deref(), Some("+1 206 555 0100"), "merged at first contact");

    databases[1].execute("UPDATE customers SET company = 'Acme Corp.' WHERE id = 1").await;
    databases[2].execute("INSERT INTO requesters (full_name, organization) VALUES ('Hank', 'org_1')").await;
    tidelock.once(0);
    let titles = databases[2].rows("SELECT title FROM organizations ORDER BY title").await;
    assert_eq!(titles[0][0].as_deref(), Some("Acme Corp."));
    let hank = "SELECT b.name, c.company FROM buyers b JOIN customers c ON c.id = b.customer_id WHERE b.name = 'Hank'";
    assert_eq!(databases[1].rows(hank).await, rows(&[["Hank", "Globex"]]));
    for line in &tidelock.once(0).lines {
        assert_eq!((line["written_source"].as_u64(), line["written_target"].as_u64()), (Some(0), Some(0)), "{line}");
    }
    tidelock.audit(0);
}
