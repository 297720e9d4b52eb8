//! Real data: the Chinook customers, their phones through `format_phone`.

use std::path::Path;

use serde_json::{Value, json};

use super::{Kind, Setup};

const FIELDS: [&str; 13] = [
    "id",
    "first_name",
    "last_name",
    "company",
    "email",
    "phone",
    "fax",
    "address",
    "city",
    "state",
    "country",
    "postal_code",
    "support_rep_id",
];

fn quote(text: &str) -> String {
    if text.is_empty() { "NULL".to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

impl Setup {
    async fn chinook(&self, phone: Value) {
        let columns: Vec<String> = FIELDS
            .iter()
            .map(|name| match *name {
                "id" => "id INTEGER PRIMARY KEY".to_owned(),
                "support_rep_id" => "support_rep_id INTEGER".to_owned(),
                name => format!("{name} TEXT"),
            })
            .collect();
        let create = |table| format!("CREATE TABLE {table} ({})", columns.join(", "));
        self.source.execute(&create("customers")).await;
        self.target.execute(&create("clients")).await;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/chinook_customers.csv");
        let mut insert = Vec::new();
        for record in csv::Reader::from_path(path).unwrap().records() {
            let record = record.unwrap();
            insert.push(format!("({})", record.iter().map(quote).collect::<Vec<_>>().join(", ")));
        }
        assert_eq!(insert.len(), 59);
        self.source
            .execute(&format!("INSERT INTO customers ({}) VALUES {}", FIELDS.join(", "), insert.join(", ")))
            .await;
        let mappings: Vec<Value> = FIELDS
            .iter()
            .map(|name| match *name {
                "phone" => phone.clone(),
                name => json!({"source": name, "target": name}),
            })
            .collect();
        self.tidelock.configure(&json!({
            "connection_name": "chinook", "sync_type": "bidirectional",
            "source": self.source.endpoint("crm", "customers"), "target": self.target.endpoint("erp", "clients"),
            "field_mappings": mappings,
        }));
    }
}

/// Every record is accounted for: its phone in E.164, or the record in review with the reason.
pub async fn every_record_is_accounted_for(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.chinook(json!({"source": "phone", "target": "phone", "transformation": "format_phone"})).await;
    let ran = setup.tidelock.run(&["run", "sync.json", "--once", "--json"]);
    let (written, reviews) = (ran.number("written_target"), ran.number("reviews"));
    assert_eq!(written + reviews, 59, "{}\n{}", ran.lines[0], ran.errors);
    assert_eq!(ran.code, i32::from(reviews > 0));
    let wrong = "SELECT CAST(count(*) AS TEXT) FROM clients WHERE phone IS NOT NULL AND (phone NOT LIKE '+%' OR phone LIKE '% %' OR phone LIKE '%(%' OR phone LIKE '%-%')";
    assert_eq!(setup.target.value(wrong).await.as_deref(), Some("0"));
    let expected = [("1", "+551239235555"), ("16", "+16502530000"), ("2", "+497112842222")];
    for (id, phone) in expected {
        assert_eq!(
            setup.target.value(&format!("SELECT phone FROM clients WHERE id = {id}")).await.as_deref(),
            Some(phone)
        );
    }
    let audit = setup.tidelock.audit(0);
    assert_eq!((audit.number("matching"), audit.number("in_review"), audit.number("compared")), (written, reviews, 59));

    // A corrected record leaves the review.
    let told = setup.tidelock.run(&["run", "sync.json", "--once"]);
    for id in reviewed(&told.errors) {
        setup.source.execute(&format!("UPDATE customers SET phone = '+1 650 253 0000' WHERE id = {id}")).await;
    }
    let ran = setup.tidelock.once(0);
    assert_eq!((ran.number("reviews"), ran.number("written_target")), (0, reviews));
    assert_eq!(setup.tidelock.audit(0).number("matching"), 59);
}

/// The keys in "in review: chinook source record KEY, field …".
fn reviewed(errors: &str) -> Vec<String> {
    let key = |line: &str| Some(line.split_once("source record ")?.1.split([',', ':']).next()?.to_owned());
    errors.lines().filter(|line| line.starts_with("in review")).filter_map(key).collect()
}

/// With `keep_original` all are there; edits on both sides converge; a further run writes nothing.
pub async fn keep_original_and_converge(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.chinook(json!({"source": "phone", "target": "phone", "transformation": "format_phone", "on_error": "keep_original"})).await;
    let ran = setup.tidelock.once(0);
    assert_eq!((ran.number("written_target"), ran.number("reviews")), (59, 0));
    assert_eq!(setup.target.value("SELECT CAST(count(*) AS TEXT) FROM clients").await.as_deref(), Some("59"));
    setup.source.execute("UPDATE customers SET city = 'Oslo', phone = '+47 22 44 22 23' WHERE id = 4; DELETE FROM customers WHERE id = 9").await;
    setup.target.execute("UPDATE clients SET company = 'Apple', phone = '+1 (408) 996-1011' WHERE id = 19; UPDATE clients SET last_name = 'Smyth' WHERE id = 17").await;
    setup.tidelock.once(0);
    assert_eq!(setup.target.value("SELECT phone FROM clients WHERE id = 4").await.as_deref(), Some("+4722442223"));
    assert_eq!(setup.source.value("SELECT last_name FROM customers WHERE id = 17").await.as_deref(), Some("Smyth"));
    // A normaliser runs in both directions.
    assert_eq!(setup.source.value("SELECT phone FROM customers WHERE id = 19").await.as_deref(), Some("+14089961011"));
    setup.quiet();
    let audit = setup.tidelock.audit(0);
    assert_eq!((audit.number("compared"), audit.number("matching")), (58, 58));
}
