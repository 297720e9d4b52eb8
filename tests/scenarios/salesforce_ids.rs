//! What tells accounts on both sides: the org's ids, in a column of the database, in both their lengths.

use serde_json::{Value, json};

use super::Kind;
use super::salesforce::{World, said};

pub async fn ids_are_written_back_and_values_settle(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let id = world.create("Acme").await;
    world.database.execute(&format!("INSERT INTO accounts (sf_id, account_name) VALUES ('{id}', 'Acme')")).await;
    world
        .database
        .execute("INSERT INTO accounts (account_name, industry_type, annual_revenue) VALUES ('  Globex ', '', 12.6)")
        .await;
    world.tidelock.once(0);
    let kept = world.sandbox.rows("SELECT Name, Industry, AnnualRevenue FROM Account ORDER BY Name").await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(kept[1][..2], [Some("Globex".to_owned()), None], "trimmed, and empty is null");
    assert_eq!(kept[1][2].as_deref().map(|text| text.trim_end_matches(".0")), Some("13"), "rounded");
    let ids = world.database.rows("SELECT sf_id FROM accounts").await;
    assert!(ids.iter().all(|row| row[0].as_ref().is_some_and(|id| id.len() == 18)), "{ids:?}");
    world.quiet().await;
    // 15 characters name the same record, which is another row's: a person looks at it, and nothing is created.
    world
        .database
        .execute(&format!("INSERT INTO accounts (sf_id, account_name) VALUES ('{}', 'Acme again')", &id[..15]))
        .await;
    let ran = world.tidelock.once(1);
    assert_eq!((ran.number("reviews"), world.sandbox.count("Account").await), (1, 2), "{}", ran.lines[0]);
}

/// A column that was filled by hand, or from a report, often holds ids of 15 characters.
pub async fn ids_of_fifteen_characters_are_known(kind: Kind) {
    let world = World::new(kind, Value::Null).await;
    let mut ids = Vec::new();
    for name in ["Acme", "Globex", "Initech", "Hooli"] {
        ids.push(world.create(name).await);
    }
    let row = |id: &str, name: &str| format!("('{id}', '{name}', 'Energy')");
    let rows = [row(&ids[0][..15], "Acme"), row(&ids[1][..15], "Globex"), row(&ids[2], "Initech")].join(", ");
    let insert = |rows: &str| format!("INSERT INTO accounts (sf_id, account_name, industry_type) VALUES {rows}");
    world.database.execute(&insert(&rows)).await;
    let ran = world.tidelock.once(0);
    assert_eq!((ran.number("written_source"), ran.number("reviews")), (3, 0), "their industries: {}", ran.lines[0]);
    world.settled(4).await;
    // Later, too: beside its own row, whoever wakes the account, it is one row too many, and a person's.
    world.database.execute(&insert(&row(&ids[1][..15], "Globex again"))).await;
    world.sandbox.edit("Account", &ids[1], json!({"Industry": "Banking"})).await;
    let ran = world.tidelock.once(1);
    assert_eq!((ran.number("reviews"), world.sandbox.count("Account").await), (1, 4), "{}", ran.lines[0]);
    let globex = "SELECT industry_type FROM accounts WHERE account_name = 'Globex'";
    assert_eq!(world.database.value(globex).await.as_deref(), Some("Banking"));
    // Two rows of one account at the first load.
    let world = World::new(kind, Value::Null).await;
    let id = world.create("Acme").await;
    let both = [row(&id[..15], "Acme"), row(&id, "Acme too")].join(", ");
    world.database.execute(&insert(&both)).await;
    let ran = world.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert_eq!((ran.code, world.sandbox.count("Account").await), (1, 1), "{}", said(&ran));
    assert_eq!(world.database.value("SELECT CAST(count(*) AS TEXT) FROM accounts").await.as_deref(), Some("2"));
}
