//! `include` (layer 2): which files a pattern names. `*` and `?` match within a name, `**` any folders.

use std::fs;
use std::path::{Path, PathBuf};

/// Deep folders and links in a circle end here.
const MAX_DEPTH: usize = 16;

/// The files that `pattern` names in `folder`, sorted. A pattern without a wildcard names its file whether there is one or not.
pub(crate) fn matches(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains(['*', '?']) {
        return vec![folder.join(pattern)];
    }
    let start = if pattern.starts_with('/') { PathBuf::from("/") } else { folder.to_owned() };
    let steps: Vec<&str> = pattern.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    let mut found = Vec::new();
    walk(&start, &steps, MAX_DEPTH, &mut found);
    found.sort();
    found.dedup();
    found
}

fn walk(folder: &Path, steps: &[&str], depth: usize, found: &mut Vec<PathBuf>) {
    let Some((step, rest)) = steps.split_first() else { return };
    let Some(depth) = depth.checked_sub(1) else { return };
    if *step == "**" {
        walk(folder, rest, depth, found);
        for (name, path) in entries(folder) {
            if path.is_dir() && !name.starts_with('.') {
                walk(&path, steps, depth, found);
            }
        }
        return;
    }
    if !step.contains(['*', '?']) {
        let path = folder.join(step);
        if rest.is_empty() && path.is_file() {
            found.push(path);
        } else if !rest.is_empty() {
            walk(&path, rest, depth, found);
        }
        return;
    }
    for (name, path) in entries(folder) {
        if name.starts_with('.') || !fits(step, &name) {
            continue;
        }
        if rest.is_empty() && path.is_file() {
            found.push(path);
        } else if !rest.is_empty() {
            walk(&path, rest, depth, found);
        }
    }
}

fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    // An empty path is the working folder, but cannot be opened under that name.
    let opened = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(opened) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| (name.clone(), folder.join(name)))
        .collect()
}

/// Whether a name fits a pattern of one step.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // Where to go back to: behind the last `*`, and one character further in the name.
    let mut back: Option<(usize, usize)> = None;
    while let Some(char) = name.get(in_name) {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                back = Some((at, in_name));
            }
            Some(wanted) if *wanted == '?' || wanted == char => {
                at += 1;
                in_name += 1;
            }
            Some(_) | None => {
                let Some((behind, from)) = back else { return false };
                (at, in_name) = (behind, from + 1);
                back = Some((behind, from + 1));
            }
        }
    }
    pattern.iter().skip(at).all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_within_one_name() {
        for (pattern, name, expected) in [
            ("*.json", "a.json", true),
            ("*.json", "a.jsonc", false),
            ("a?c*", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "aXbY", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_name_sorted_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "x/c.json", "x/y/d.json", "x/.hidden.json"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = matches(folder.path(), pattern);
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names("*.json"), ["a.json", "b.json"]);
        assert_eq!(names("x/*.json"), ["x/c.json"]);
        assert_eq!(names("**/*.json"), ["a.json", "b.json", "x/c.json", "x/y/d.json"]);
        assert_eq!(names("*/c.json"), ["x/c.json"]);
        assert_eq!(names("missing.json"), ["missing.json"]);
        assert!(names("*.toml").is_empty());
    }
}
