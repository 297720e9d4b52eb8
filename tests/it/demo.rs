//! The demo runs to its end by itself, and what it leaves behind works.

use crate::harness::{Database, Tidelock};

#[test]
fn it_ends_by_itself_with_a_summary() {
    let tidelock = Tidelock::new();
    let ran = tidelock.run(&["demo", "--dir", "demo", "--json"]);
    assert_eq!(ran.code, 0, "{:?}\n{}", ran.lines, ran.errors);
    let summary = ran.lines.last().unwrap();
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["audit"]["matching"], summary["audit"]["compared"]);
    assert_eq!(summary["counts"]["conflicts"], 1);
    assert!(
        ran.lines.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains("swapped after"))),
        "{:?}",
        ran.lines
    );
}

#[tokio::test]
async fn its_configuration_goes_on_working() {
    let tidelock = Tidelock::new();
    assert_eq!(tidelock.run(&["demo", "--dir", "demo"]).code, 0);
    let erp = Database::Sqlite(tidelock.folder.path().join("demo/erp.db"));
    erp.execute("UPDATE clients SET full_name = 'Ada King' WHERE crm_id = 1").await;
    let ran = tidelock.run(&["run", "demo/tidelock.json", "--once", "--json"]);
    assert_eq!((ran.code, ran.number("written_source")), (0, 1), "{}", ran.errors);
}

#[test]
fn an_existing_folder_is_left_alone() {
    let tidelock = Tidelock::new();
    std::fs::create_dir(tidelock.folder.path().join("demo")).unwrap();
    let ran = tidelock.run(&["demo", "--dir", "demo"]);
    assert_eq!(ran.code, 1);
    assert!(ran.errors.contains("does not exist yet"), "{}", ran.errors);
}
