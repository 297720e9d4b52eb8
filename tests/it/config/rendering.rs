//! How problems are shown: to people, with and without colours, and to programs.

use serde_json::json;
use tidelock::cli::check;
use tidelock::config::{Location, Problem};

use super::{base, merge, refused};

#[test]
fn programs_get_stable_keys() {
    let problems = refused(&merge(&base(), &json!({"sync_typ": "one_way", "monitoring": {"metrics": ["throughput"]}})));
    let json = check::to_json(&problems);
    assert_eq!(json["ok"], false);
    let first = json["problems"].as_array().unwrap().iter().find(|problem| problem["severity"] == "error").unwrap();
    assert_eq!(first["code"], "config.unknown_key");
    assert_eq!(first["pointer"], "/sync_typ");
    assert_eq!(first["message"], "unknown key \"sync_typ\"");
    assert_eq!(first["suggestion"], "did you mean \"sync_type\"?");
    assert!(first["line"].as_u64().unwrap() >= 1 && first["column"].as_u64().unwrap() == 3);
    assert!(first["file"].as_str().unwrap().ends_with("crm_to_erp.json"));
    assert_eq!(check::to_json(&[]), json!({"ok": true, "problems": []}));
    assert_eq!(check::summary(&problems), "1 error, 1 warning");
    assert_eq!(check::summary(&[]), "no problems");
}

#[test]
fn colours_only_where_asked_for() {
    let problem = Problem::error("config.x", &Location::default(), "wrong").suggest("right");
    assert_eq!(
        check::render(std::slice::from_ref(&problem), false),
        "configuration: error: wrong\n  help: right [config.x]\n"
    );
    assert!(check::render(&[problem], true).contains("\u{1b}[1;31merror\u{1b}[0m"));
}

#[test]
fn the_mark_stands_under_its_column_even_in_a_long_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, format!("{{\"{}\": 1, \"é\": 2}}", "x".repeat(500))).unwrap();
    let problems = super::load(&path).unwrap_err();
    let rendered = check::render(&problems, false);
    let lines: Vec<&str> = rendered.lines().collect();
    let at = lines.iter().rposition(|line| line.trim_end().ends_with('^')).unwrap();
    let column = lines[at].chars().count() - 1;
    assert_eq!(lines[at - 1].chars().skip(column).take(3).collect::<String>(), "\"é\"", "{rendered}");
}
