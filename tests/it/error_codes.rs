//! Codes are stable: every one that the program can say is explained in `docs/errors.md`, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The first words of codes.
const AREAS: [&str; 17] = [
    "capture",
    "conflict",
    "connector",
    "http",
    "mapping",
    "match",
    "plugin",
    "postgres",
    "record",
    "resync",
    "rollout",
    "run",
    "salesforce",
    "source",
    "sqlite",
    "state",
    "validation",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // The configuration's codes have a list and a test of their own; its other dotted words are keys.
        if path.is_dir() && !path.ends_with("config") {
            sources(&path, found);
        } else if !path.is_dir() && path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn is_code(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    // The files of a plugin's project are none.
    let file = ["plugin.js", "plugin.json"].contains(&text);
    !file && text.split_once('.').is_some_and(|(area, rest)| AREAS.contains(&area) && word(rest))
}

#[test]
fn every_code_is_explained_and_no_other() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut said = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        said.extend(text.split('"').filter(|part| is_code(part)).map(str::to_owned));
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md")).unwrap();
    let explained: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code.to_owned())
        .filter(|code| is_code(code))
        .collect();
    assert_eq!(said, explained);
    assert!(said.len() > 50);
}
