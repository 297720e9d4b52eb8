//! Every JSON block of the documentation and every example is a configuration that loads; every code is explained.

use std::fs;

use serde_json::Value;
use tidelock::cli::check;
use tidelock::config::{codes, load_with_environment};

use super::golden::json_files;
use super::{REGISTRY, base, load_value, merge};

/// Stands in for every variable that an example takes from the environment.
fn environment(name: &str) -> Option<String> {
    Some(format!("value-of-{name}"))
}

/// The JSON blocks of a page, with the line where each begins.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```json" | "```jsonc") => open = Some((index + 1, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, text)), _) => text.push_str(&format!("{line}\n")),
            (None, _) => {}
        }
    }
    blocks
}

#[test]
fn every_block_of_the_documentation_loads() {
    let page = fs::read_to_string("docs/configuration.md").unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() >= 10, "{} blocks", blocks.len());
    for (line, text) in blocks {
        let parsed: Value = jsonc_parser::parse_to_serde_value(&text, &jsonc_parser::ParseOptions::default())
            .unwrap_or_else(|error| panic!("docs/configuration.md:{line}: {error}"));
        let whole = ["syncs", "sync_hub", "include"].iter().any(|key| parsed.get(key).is_some());
        let config = if whole { parsed } else { merge(&base(), &parsed) };
        let (result, folder) = load_value(&config);
        let Err(problems) = result else { continue };
        // A service whose syncs are all included from elsewhere.
        let only_includes = config.get("include").is_some()
            && problems.iter().filter(|problem| problem.is_error()).all(|problem| problem.code == codes::NO_SYNC);
        assert!(only_includes, "docs/configuration.md:{line}\n{}", check::render(&problems, false));
        drop(folder);
    }
}

/// The README's configuration and the demo's are whole as they stand.
#[test]
fn what_a_new_user_copies_loads() {
    let readme = blocks(&fs::read_to_string("README.md").unwrap());
    assert_eq!(readme.len(), 1);
    let demo = fs::read_to_string("src/cli/demo/tidelock.json").unwrap();
    for text in [&readme[0].1, &demo] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sync.json");
        fs::write(&path, text).unwrap();
        if let Err(problems) = load_with_environment(&[path], &REGISTRY, &environment) {
            panic!("{}", check::render(&problems, false));
        }
    }
}

#[test]
fn every_example_loads() {
    for path in ["examples/configs", "examples/hub-and-spoke"].iter().flat_map(|folder| json_files(folder)) {
        let result = load_with_environment(std::slice::from_ref(&path), &REGISTRY, &environment);
        if let Err(problems) = result {
            panic!("{}\n{}", path.display(), check::render(&problems, false));
        }
    }
}

#[test]
fn every_key_of_the_schema_is_documented() {
    let page = fs::read_to_string("docs/configuration.md").unwrap();
    let mut keys = std::collections::BTreeSet::new();
    collect(tidelock::config::schema(), &mut keys);
    let missing: Vec<String> = keys.into_iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:?}");
}

fn collect(schema: &Value, keys: &mut std::collections::BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect(value, keys));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_code_is_explained_and_no_other() {
    let page = fs::read_to_string("docs/errors.md").unwrap();
    let mut explained: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .filter(|code| code.starts_with("config."))
        .collect();
    let mut codes = codes::ALL.to_vec();
    explained.sort_unstable();
    codes.sort_unstable();
    assert_eq!(explained, codes);
}

#[test]
fn every_code_has_a_golden_file() {
    let text: String = json_files("tests/config/err")
        .iter()
        .chain(&json_files("tests/config/ok"))
        .filter_map(|path| fs::read_to_string(path.with_extension("err")).ok())
        .collect();
    for code in codes::ALL {
        assert!(text.contains(&format!("[{code}]")), "{code} occurs in no golden file");
    }
}
