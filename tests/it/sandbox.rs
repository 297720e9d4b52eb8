//! `tidelock sandbox salesforce` as a process, over HTTP; what it answers is held in `src/sandbox/org/tests.rs`, and by other people's clients in
//! tests/clients.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::Tidelock;
use crate::harness::sandbox::Sandbox;

#[tokio::test]
async fn it_serves_records_of_its_own_and_a_page() {
    let sandbox = Sandbox::start(&Tidelock::new(), &[]).await;
    assert_eq!(
        sandbox.count("Account").await + sandbox.count("Contact").await,
        sandbox.said["records"].as_u64().unwrap()
    );
    let answer = sandbox.api("GET", "limits").send().await.unwrap();
    let limit = answer.headers()["sforce-limit-info"].to_str().unwrap().to_owned();
    assert_eq!(limit, "api-usage=3/100000");
    assert!(answer.headers().contains_key("date"));
    let page = sandbox.client.get(sandbox.url("/")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Quarry, Stone &amp; Sons"), "{page}");
}

#[tokio::test]
async fn a_csv_file_becomes_records_with_custom_fields() {
    let tidelock = Tidelock::new();
    let folder = tidelock.folder.path();
    std::fs::write(folder.join("a.csv"), "Name,loyalty points\nAcme,12\nApex,\n").unwrap();
    std::fs::write(folder.join("c.csv"), "LastName\nKing\n").unwrap();
    let seeds = [
        "--seed".to_owned(),
        folder.join("a.csv").display().to_string(),
        "--seed".to_owned(),
        format!("Contact={}", folder.join("c.csv").display()),
    ];
    let sandbox = Sandbox::start(&tidelock, &seeds.each_ref().map(String::as_str)).await;
    assert_eq!(sandbox.said["records"], 3);
    let query = "query?q=SELECT+loyalty_points__c+FROM+Account+ORDER+BY+Name";
    let found: Value = sandbox.api("GET", query).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&found["records"][0]["loyalty_points__c"], &found["records"][1]["loyalty_points__c"]),
        (&json!(12.0), &Value::Null)
    );
}

#[tokio::test]
async fn an_answer_is_lost_after_the_write_and_a_page_breaks_off() {
    let sandbox = Sandbox::start(&Tidelock::new(), &["--empty"]).await;
    sandbox.script(json!({"rules": [{"method": "POST", "fault": "lost_response"}]})).await;
    let write = sandbox.api("POST", "sobjects/Account").json(&json!({"Name": "Acme"})).send().await;
    assert!(write.is_err(), "no head arrives: {write:?}");
    sandbox.script(json!({"rules": [{"method": "POST", "fault": "dropped_request"}]})).await;
    assert!(sandbox.api("POST", "sobjects/Account").json(&json!({"Name": "Apex"})).send().await.is_err());
    assert_eq!(sandbox.count("Account").await, 1, "the first was written, the second was not");
    sandbox.script(json!({"rules": [{"path": "/query", "nth": 1, "fault": "connection_reset"}]})).await;
    let page = sandbox.api("GET", "query?q=SELECT+Id+FROM+Account").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK, "the head arrives");
    assert!(page.text().await.is_err(), "the body breaks off");
    assert_eq!(sandbox.count("Account").await, 1);
}

#[test]
fn wrong_files_are_told_and_nothing_is_served() {
    let tidelock = Tidelock::new();
    let file = |name: &str, text: &str| {
        let path = tidelock.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for (arguments, expected) in [
        (["--seed".to_owned(), file("a.csv", "Phone\n1\n")], "record 1: REQUIRED_FIELD_MISSING (Name)"),
        (["--seed".to_owned(), format!("Lead={}", file("b.csv", "Name\nx\n"))], "no object Lead"),
        (["--faults".to_owned(), file("f.json", r#"{"rules": [{"fault": "explode"}]}"#)], "explode"),
        (["--seed".to_owned(), "missing.csv".to_owned()], "reading missing.csv"),
    ] {
        let ran = tidelock.run(
            &[&["sandbox", "salesforce", "--port", "0"], arguments.each_ref().map(String::as_str).as_slice()].concat(),
        );
        assert!(ran.code == 1 && ran.errors.contains(expected), "{arguments:?}: {}", ran.errors);
    }
}
