//! Queries over a handful of accounts.

use serde_json::{Value, json};

use super::plan::{Found, Plan};
use super::syntax::parse;
use crate::sandbox::clock::Clock;
use crate::sandbox::describe::Schema;
use crate::sandbox::exchange::Refusal;
use crate::sandbox::standard;
use crate::sandbox::store::Store;
use crate::sandbox::write::Writer;

fn world() -> (Schema, Store) {
    let (schema, mut store, clock) = (standard::schema(), Store::default(), Clock::default());
    let mut writer = Writer {
        schema: &schema,
        store: &mut store,
        clock: &clock,
        triggers: &[],
        user: "005Hs0000000000001",
        late_seconds: 0,
        locked: &mut || false,
    };
    let account = schema.object("Account").unwrap();
    let mut ids = Vec::new();
    for fields in [
        json!({"Name": "Acme", "Industry": "Energy", "AnnualRevenue": 100, "Regions__c": "North;West"}),
        json!({"Name": "bolt_50%", "Industry": "Retail", "AnnualRevenue": 20, "Renewal__c": "2026-01-31"}),
        json!({"Name": "Cargo", "Last_Call__c": "2026-01-31T10:00:00Z", "Active__c": true}),
        json!({"Name": "Gone"}),
    ] {
        ids.push(writer.create(account, fields.as_object().unwrap()).unwrap());
    }
    writer.delete(account, &ids[3], false).unwrap();
    let contact = schema.object("Contact").unwrap();
    let person = json!({"FirstName": "Ada", "LastName": "King", "AccountId": ids[0]});
    writer.create(contact, person.as_object().unwrap()).unwrap();
    writer.create(contact, json!({"LastName": "Alone"}).as_object().unwrap()).unwrap();
    (schema, store)
}

fn run(text: &str, deleted_too: bool) -> Result<Found, Refusal> {
    let (schema, store) = world();
    Ok(Plan::new(&parse(text)?, &schema)?.run(&store, deleted_too, "v60.0"))
}

fn names(text: &str) -> Vec<String> {
    let Found::Records(records) = run(text, false).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}")) else {
        panic!("a count: {text}")
    };
    records.iter().map(|record| record["Name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn conditions_let_the_right_records_through() {
    for (condition, expected) in [
        ("Name = 'ACME'", "Acme"),
        ("Name != 'acme'", "bolt_50%, Cargo"),
        ("Industry = null", "Cargo"),
        ("Industry <> NULL", "Acme, bolt_50%"),
        ("AnnualRevenue >= 20 AND AnnualRevenue < 100", "bolt_50%"),
        ("AnnualRevenue < 1000", "Acme, bolt_50%"),
        ("NOT (Industry = 'Energy')", "bolt_50%, Cargo"),
        ("Industry IN ('energy', 'RETAIL')", "Acme, bolt_50%"),
        ("Industry NOT IN ('Energy')", "bolt_50%, Cargo"),
        ("Name LIKE 'c%'", "Cargo"),
        ("Name LIKE '%\\_50\\%'", "bolt_50%"),
        ("Name LIKE '_cme'", "Acme"),
        ("Name LIKE '%r%o'", "Cargo"),
        ("NOT Name LIKE '%o%'", "Acme"),
        ("Renewal__c = 2026-01-31", "bolt_50%"),
        ("Last_Call__c = 2026-01-31T11:00:00+01:00", "Cargo"),
        ("Active__c = TRUE", "Cargo"),
        ("(Industry = 'Retail' OR Industry = null) AND Name != 'Cargo'", "bolt_50%"),
        ("Regions__c INCLUDES ('South', 'West;North')", "Acme"),
        ("Regions__c EXCLUDES ('North')", "bolt_50%, Cargo"),
        ("Owner.Name = null", "Acme, bolt_50%, Cargo"),
        ("Account.Name = 'Acme'", "Acme"),
        ("Id = '001000000000001'", ""),
    ] {
        let found = names(&format!("SELECT Name FROM Account WHERE {condition}"));
        assert_eq!(found.join(", "), expected, "{condition}");
    }
}

#[test]
fn the_keyset_of_a_poll_is_understood() {
    let keyset = "(SystemModstamp = 2020-01-01T00:00:00Z AND Id > '001000000000000AAA') OR SystemModstamp > 2020-01-01T00:00:00.000+0000";
    let query = format!("select Id, Name from Account where {keyset} order by SystemModstamp, Id limit 2");
    assert_eq!(names(&query), ["Acme", "bolt_50%"]);
}

#[test]
fn records_are_ordered_and_cut() {
    let ordered = |rest: &str| names(&format!("SELECT Name FROM Account {rest}"));
    assert_eq!(ordered("ORDER BY AnnualRevenue"), ["Cargo", "bolt_50%", "Acme"]);
    assert_eq!(ordered("ORDER BY AnnualRevenue DESC"), ["Cargo", "Acme", "bolt_50%"]);
    assert_eq!(ordered("ORDER BY AnnualRevenue ASC NULLS LAST, Name"), ["bolt_50%", "Acme", "Cargo"]);
    assert_eq!(ordered("ORDER BY Name DESC LIMIT 1 OFFSET 1"), ["bolt_50%"]);
}

#[test]
fn counts_deleted_records_and_parents_are_told() {
    assert_eq!(run("SELECT COUNT() FROM Account", false), Ok(Found::Count(3)));
    assert_eq!(run("SELECT COUNT() FROM Account", true), Ok(Found::Count(4)));
    let Ok(Found::Records(counted)) = run("SELECT COUNT(Industry) n FROM Account", false) else { panic!("no records") };
    assert_eq!(counted[0]["n"], json!(2));
    let Ok(Found::Records(people)) = run("SELECT Name, Account.Name FROM Contact ORDER BY LastName DESC", false) else {
        panic!("no records")
    };
    assert_eq!((&people[0]["Name"], &people[0]["Account"]["Name"]), (&json!("Ada King"), &json!("Acme")));
    assert_eq!(people[1]["Account"], Value::Null);
}

#[test]
fn what_is_no_query_has_its_code() {
    let deep = format!("SELECT Id FROM Account WHERE {}Id = null{}", "(".repeat(200), ")".repeat(200));
    for (text, code) in [
        ("", "MALFORMED_QUERY"),
        ("SELECT Id", "MALFORMED_QUERY"),
        ("SELECT * FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'a' AND Id = null OR Id = null", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'open", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'a\\q'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account; DROP", "MALFORMED_QUERY"),
        ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY"),
        (&deep, "QUERY_TOO_COMPLICATED"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
        ("SELECT Nothing FROM Account", "INVALID_FIELD"),
        ("SELECT Id, id FROM Account", "INVALID_FIELD"),
        ("SELECT Nobody.Name FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE CreatedDate > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE AnnualRevenue = '5'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Description = 'a'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Id = '5'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
    ] {
        assert_eq!(run(text, false).map_err(|refusal| refusal.code), Err(code), "{text}");
    }
}
