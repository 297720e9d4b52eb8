//! Configurations: golden files (`tests/config/{ok,err}`), the article's snippets (`tests/config/seed`), docs and examples.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidelock::change::End;
use tidelock::cli::check;
use tidelock::config::planned::{Check, Metric, OnInvalid, Threshold};
use tidelock::config::{
    CaptureMethod, Loaded, Mappings, Nulls, Problem, Registry, Rule, codes, load_with_environment, schema,
};
use tidelock::connector::registry::{PLANNED_SYSTEM_TYPES, SYSTEM_TYPES};

const REGISTRY: Registry<'static> =
    Registry { system_types: SYSTEM_TYPES, planned_system_types: PLANNED_SYSTEM_TYPES };

/// The environment of every test here.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "CRM_PASSWORD" => "hunter2-hunter2",
        "CRM_URL" | "ERP_URL" | "DATABASE_URL" => "postgres://user:hunter2-hunter2@db.example/crm",
        "TIDELOCK_TOKEN" | "SALESFORCE_SECRET" => "token-token-token",
        "SYSTEM_TYPE" => "postgers-by-variable",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    load_with_environment(&[path.to_owned()], &REGISTRY, &environment)
}

/// Loads a configuration from a file of its own; the folder lives as long as the result.
fn load_value(config: &Value) -> (Result<Loaded, Vec<Problem>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm_to_erp.json");
    fs::write(&path, format!("{config:#}")).unwrap();
    (load(&path), folder)
}

fn accepted(config: &Value) -> Loaded {
    let (result, _folder) = load_value(config);
    result.unwrap_or_else(|problems| panic!("{config:#}\n{}", check::render(&problems, false)))
}

fn refused(config: &Value) -> Vec<Problem> {
    let (result, _folder) = load_value(config);
    result.err().unwrap_or_else(|| panic!("accepted: {config:#}"))
}

fn json_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {folder}");
    files
}

/// Compares with the file beside it, or writes that file: `TIDELOCK_BLESS=1 cargo test`.
#[allow(clippy::disallowed_methods, reason = "a switch of this test, not of the program")]
fn compare(path: &Path, rendered: &str, wrong: &mut Vec<String>) {
    let beside = path.with_extension("err");
    if std::env::var_os("TIDELOCK_BLESS").is_some() {
        if rendered.is_empty() {
            drop(fs::remove_file(&beside));
        } else {
            fs::write(&beside, rendered).unwrap();
        }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if expected != rendered {
        wrong.push(format!("{}\n--- expected\n{expected}--- found\n{rendered}", path.display()));
    }
}

/// Deep merge; `over` wins.
fn merge(base: &Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            for (key, value) in over {
                let value = base.get(key).map_or_else(|| value.clone(), |base| merge(base, value));
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (_, over) => over.clone(),
    }
}

#[test]
fn golden_files_that_are_accepted() {
    let mut wrong = Vec::new();
    for path in json_files("tests/config/ok") {
        match load(&path) {
            Ok(loaded) => compare(&path, &check::render(&loaded.warnings, false), &mut wrong),
            Err(problems) => wrong.push(format!("{}\n{}", path.display(), check::render(&problems, false))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn golden_files_that_are_refused() {
    let mut wrong = Vec::new();
    for path in json_files("tests/config/err") {
        match load(&path) {
            Ok(_) => wrong.push(format!("{} was accepted", path.display())),
            Err(problems) => {
                let rendered = check::render(&problems, false);
                assert!(!rendered.contains("hunter2") && !rendered.contains("token-token"), "I12: {rendered}");
                compare(&path, &rendered, &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
