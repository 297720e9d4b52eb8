//! A mapping that changes between two runs: what it makes of the records that are there already is brought over once.

use serde_json::{Value, json};

use super::{Kind, Setup};

fn mappings(town: bool) -> Value {
    let all = [("id", "client_id"), ("name", "full_name"), ("phone", "phone"), ("city", "town")];
    let some = all.iter().filter(|(source, _)| town || *source != "city");
    some.map(|(source, target)| json!({"source": source, "target": target})).collect()
}

pub async fn a_field_added_later_is_filled(kinds: (Kind, Kind)) {
    for sync_type in ["one_way", "bidirectional"] {
        let setup = Setup::new(kinds).await;
        setup.tables().await;
        setup.configure(json!({"sync_type": sync_type, "field_mappings": mappings(false)}));
        let insert = "INSERT INTO customers (id, name, city) VALUES (1, 'Ada', 'Ulm'), (2, 'Bob', NULL), (3, 'Cid', 'Kiel'), (4, 'Dot', 'Bonn')";
        setup.source.execute(insert).await;
        assert_eq!(setup.tidelock.once(0).number("written_target"), 4);
        assert_eq!(setup.tidelock.once(0).number("read"), 0);
        let towns = "UPDATE clients SET town = 'Celle' WHERE client_id = 2; UPDATE clients SET town = 'Trier' WHERE client_id = 3";
        setup.target.execute(towns).await;
        setup.source.execute("DELETE FROM customers WHERE id = 4").await;

        setup.configure(json!({"sync_type": sync_type, "field_mappings": mappings(true)}));
        let filled = setup.tidelock.once(0);
        let conflicts = if sync_type == "bidirectional" { 1 } else { 0 };
        assert_eq!(filled.number("conflicts"), conflicts, "{}", filled.lines[0]);
        assert_eq!(setup.target.value("SELECT town FROM clients WHERE client_id = 1").await.as_deref(), Some("Ulm"));
        // Both ways nothing of the target is lost: where the source says nothing, the target's value flows.
        let city = setup.source.value("SELECT city FROM customers WHERE id = 2").await;
        assert_eq!(city.as_deref(), (sync_type == "bidirectional").then_some("Celle"));
        // The delete was not forgotten over the load.
        assert_eq!(setup.contents().await.1.len(), 3);
        setup.settled().await;
        let mut turned = mappings(true);
        turned.as_array_mut().unwrap().reverse();
        setup.configure(json!({"sync_type": sync_type, "field_mappings": turned}));
        assert_eq!(setup.tidelock.once(0).number("read"), 0, "the order of the mappings is none of its meaning");
    }
}

pub async fn another_function_or_filter_is_applied(kinds: (Kind, Kind)) {
    for sync_type in ["one_way", "bidirectional"] {
        let setup = Setup::new(kinds).await;
        setup.tables().await;
        let configure = |function: &str, filter: &str| {
            let mut mappings = mappings(true);
            mappings[1]["transformation"] = json!(function);
            setup.configure(json!({"sync_type": sync_type, "field_mappings": mappings, "filter": {"source": filter}}));
        };
        configure("lowercase", "id < 3");
        setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'ada'), (2, 'bob'), (3, 'cid')").await;
        assert_eq!(setup.tidelock.once(0).number("written_target"), 2);

        configure("uppercase", "id < 9");
        let changed = setup.tidelock.once(0);
        let counts = ["written_target", "written_source", "conflicts"].map(|name| changed.number(name));
        assert_eq!(counts, [3, 0, 0], "{}", changed.lines[0]);
        let names = "SELECT full_name FROM clients ORDER BY client_id";
        assert_eq!(setup.target.rows(names).await, ["ADA", "BOB", "CID"].map(|name| vec![Some(name.to_owned())]));
        assert_eq!(setup.source.value("SELECT name FROM customers WHERE id = 1").await.as_deref(), Some("ada"));
        setup.tidelock.audit(0);
        assert_eq!(setup.tidelock.once(0).number("read"), 0);
    }
}
