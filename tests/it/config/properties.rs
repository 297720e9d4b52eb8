//! Whatever stands in a file: the loader does not panic, and every problem says where it is.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidelock::cli::check;
use tidelock::config::Problem;

use super::{base, load, merge};

fn check_text(text: &str) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, text).unwrap();
    let problems = match load(&path) {
        Ok(loaded) => {
            prop_assert!(!loaded.config.pairs.is_empty());
            prop_assert!(!loaded.warnings.iter().any(Problem::is_error));
            loaded.warnings
        }
        Err(problems) => {
            prop_assert!(problems.iter().any(Problem::is_error));
            problems
        }
    };
    let lines = text.matches('\n').count() + 1;
    for problem in &problems {
        prop_assert!(problem.at.line >= 1 && problem.at.column >= 1, "{problem:?}");
        prop_assert!(usize::try_from(problem.at.line).unwrap() <= lines, "{problem:?}");
        prop_assert!(tidelock::config::codes::ALL.contains(&problem.code), "{}", problem.code);
    }
    drop(check::render(&problems, true));
    Ok(())
}

/// Keys of the configuration, so that the walk gets somewhere.
fn key() -> impl Strategy<Value = String> {
    let known = [
        "source",
        "target",
        "type",
        "table",
        "object",
        "path",
        "credentials",
        "name",
        "field_mappings",
        "transformation",
        "key",
        "sync_type",
        "sync_settings",
        "conflict_resolution",
        "strategy",
        "field_rules",
        "field",
        "priority_system",
        "systems",
        "sync_hub",
        "connected_systems",
        "system",
        "objects",
        "mappings",
        "hub",
        "syncs",
        "state",
        "server",
        "plugins",
        "include_fields",
        "exclude_fields",
        "validation_rules",
        "rule",
        "deletes",
        "performance_settings",
        "batch_size",
        "monitoring",
        "error_handling",
        "direction",
        "params",
        "match_on",
        "filter",
        "deletse",
        "$at",
    ];
    prop_oneof![9 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn json_value() -> impl Strategy<Value = Value> {
    let words = [
        "sqlite",
        "postgres",
        "salesforce",
        "one_way",
        "bidirectional",
        "last_write_wins",
        "field_level_priority",
        "id",
        "${CRM_PASSWORD}",
        "${UNSET}",
        "${",
        "a b",
        "",
        "source",
        "crm",
        "both",
        "regex",
    ];
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|number| json!(number)),
        4 => prop::sample::select(words.to_vec()).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => prop::collection::vec((key(), inner), 0..6).prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{\"a\":", "{\"systems\":", "[{\"transformation\":"] {
        check_text(&open.repeat(100_000)).unwrap();
    }
    let deep = format!(
        "{{\"field_mappings\": [{{\"source\": \"a\", \"target\": \"a\", \"default\": {}1{}}}]}}",
        "[".repeat(400),
        "]".repeat(400)
    );
    check_text(&deep).unwrap();
}

#[test]
fn many_problems_take_no_longer_than_many_lines() {
    let keys: Vec<String> = (0..2_000).map(|number| format!("\"wrong_{number}\": {number}")).collect();
    check_text(&format!("{{{}}}", keys.join(",\n"))).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_json(value in json_value(), pretty in any::<bool>()) {
        check_text(&if pretty { format!("{value:#}") } else { value.to_string() })?;
    }

    #[test]
    fn any_json_over_a_good_configuration(value in json_value()) {
        if value.is_object() {
            check_text(&format!("{:#}", merge(&base(), &value)))?;
        }
    }

    #[test]
    fn any_text(text in any::<String>()) {
        check_text(&text)?;
    }

    #[test]
    fn a_file_that_was_cut_or_damaged(at in 0_usize..600, with in prop::option::of(any::<char>())) {
        let whole = std::fs::read_to_string("tests/config/ok/design.json").unwrap();
        let mut damaged: String = whole.chars().take(at).collect();
        if let Some(with) = with {
            damaged.push(with);
            damaged.extend(whole.chars().skip(at + 1));
        }
        check_text(&damaged)?;
    }
}
