//! `tidelock plan` and `audit` with users that may read, and nothing else.

use serde_json::{Value, json};

use crate::harness::{Database, unique};
use crate::scenarios::{Kind, Setup};

/// A user of the server who may read that table, and the database's URL as that user.
async fn reader(database: &Database, table: &str) -> (String, String) {
    let user = format!("tl_{}", &unique()[8..]).replace('_', "x");
    let (url, name, grants) = match database {
        Database::Postgres { url, name, .. } => {
            let grants = format!(
                "CREATE ROLE {user} LOGIN PASSWORD 'pw'; GRANT USAGE ON SCHEMA public TO {user}; GRANT SELECT ON {table} TO {user}"
            );
            (url, name, grants)
        }
        Database::Mysql { url, name, .. } => {
            let grants =
                format!("CREATE USER {user}@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON {name}.{table} TO {user}@'%'");
            (url, name, grants)
        }
        Database::Sqlite(_) => unreachable!("files have no users"),
    };
    database.execute(&grants).await;
    let (scheme, rest) = url.split_once("://").unwrap();
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    let server = server.rsplit_once('/').unwrap().0;
    (user.clone(), format!("{scheme}://{user}:pw@{server}/{name}"))
}

async fn forget(database: &Database, user: &str) {
    let sql = match database {
        Database::Postgres { .. } => format!("DROP OWNED BY {user}; DROP ROLE {user}"),
        Database::Mysql { .. } | Database::Sqlite(_) => format!("DROP USER {user}@'%'"),
    };
    database.execute(&sql).await;
}

async fn planned(setup: &Setup) -> Value {
    let before = setup.contents().await;
    let ran = setup.tidelock.run(&["plan", "sync.json", "--json"]);
    assert_eq!(ran.code, 0, "{:?}\n{}", ran.lines, ran.errors);
    assert_eq!(setup.contents().await, before);
    ran.lines[0].clone()
}

/// Plans with all rights and as readers say the same, before the first run and after it.
async fn readers_plan(kinds: (Kind, Kind), sync_type: &str) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    let (source, source_url) = reader(&setup.source, "customers").await;
    let (target, target_url) = reader(&setup.target, "clients").await;
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob'), (3, 'Cid')").await;
    setup.target.execute("INSERT INTO clients (client_id, full_name) VALUES (3, 'Sid'), (4, 'Dot')").await;
    let endpoint = |database: &Database, url: &str, (name, table): (&str, &str)| {
        let mut endpoint = database.endpoint(name, table);
        endpoint["url"] = json!(url);
        endpoint
    };
    let as_owner = || setup.configure(json!({"sync_type": sync_type}));
    let as_reader = || {
        setup.configure(json!({
            "sync_type": sync_type,
            "source": endpoint(&setup.source, &source_url, ("crm", "customers")),
            "target": endpoint(&setup.target, &target_url, ("erp", "clients")),
        }));
    };
    let told =
        |plan: &Value| [&plan["source"], &plan["target"], &plan["conflicts"], &plan["tracking"]].map(Clone::clone);
    as_owner();
    let owners = planned(&setup).await;
    as_reader();
    assert_eq!(told(&planned(&setup).await), told(&owners));
    assert_eq!(setup.tidelock.run(&["audit", "sync.json", "--json"]).code, 3);
    let names = owners["tracking"]["source"].as_array().unwrap();
    assert!(names.iter().any(|name| name.as_str().unwrap().contains("tidelock_changes_customers")), "{owners}");

    as_owner();
    setup.tidelock.once(0);
    setup.source.execute("UPDATE customers SET city = 'Bonn' WHERE id = 1; DELETE FROM customers WHERE id = 2").await;
    as_reader();
    let plan = planned(&setup).await;
    assert_eq!(plan["tracking"], json!({"source": [], "target": []}));
    assert_eq!(plan["target"]["updates"], 1);
    if sync_type == "bidirectional" {
        assert_eq!((&plan["target"]["deletes"], &plan["deletes_known"]), (&json!(1), &json!(true)), "{plan}");
    } else {
        assert_eq!((&plan["target"]["deletes"], &plan["deletes_known"]), (&json!(0), &json!(false)), "{plan}");
        as_owner();
        let owners = planned(&setup).await;
        assert_eq!((&owners["target"]["deletes"], &owners["deletes_known"]), (&json!(1), &json!(true)), "{owners}");
    }
    as_owner();
    setup.tidelock.once(0);
    setup.settled_but_for_what_only_the_target_has(sync_type).await;
    forget(&setup.source, &source).await;
    forget(&setup.target, &target).await;
}

impl Setup {
    async fn settled_but_for_what_only_the_target_has(&self, sync_type: &str) {
        if sync_type == "bidirectional" {
            self.settled().await;
        } else {
            let audit = self.tidelock.audit(3);
            assert_eq!((audit.number("missing_in_source"), audit.number("matching")), (1, 2), "{}", audit.lines[0]);
        }
    }
}

#[tokio::test]
async fn a_plan_needs_no_more_than_select_in_postgres() {
    readers_plan((Kind::Postgres, Kind::Postgres), "bidirectional").await;
    readers_plan((Kind::Postgres, Kind::Postgres), "one_way").await;
}

#[tokio::test]
async fn a_plan_needs_no_more_than_select_in_mysql() {
    readers_plan((Kind::Mysql, Kind::Mysql), "bidirectional").await;
    readers_plan((Kind::Mysql, Kind::Mysql), "one_way").await;
}
