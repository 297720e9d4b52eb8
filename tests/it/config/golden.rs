//! Golden files: `x.json` beside the exact problems in `x.err`. A test is added by adding a file.

use std::fs;
use std::path::{Path, PathBuf};

use tidelock::cli::check;

use super::load;

pub(super) fn json_files(folder: &str) -> Vec<PathBuf> {
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
