//! The layer table of docs/architecture.md, the size of files and their names, held by reading the sources.
//!
//! A module uses what stands in a lower row, never its own row or above. `use` lines, paths inside code, `super::` and the
//! names of child modules all count; tests inside a file count as the file. A `pub use` of a child only gives it a second
//! name: whoever uses that name uses the child.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

mod paths;

/// From the bottom to the top. A row lists modules; one entry may name several files that are one module to the others.
/// `x` is the file `x.rs` or `x/mod.rs` alone, `x/..` also everything below it.
const ROWS: &[(&str, &[&str])] = &[
    ("0a", &["value/..", "error/.."]),
    ("0b", &["record/.."]),
    ("1", &["change/..", "telemetry/.."]),
    ("2", &["config/.."]),
    // The ports: traits and their data.
    ("3", &["connector connector/marks", "plugin", "state state/history state/intent state/review", "notify"]),
    // The adapters; see `connector_place` for those in connector/.
    (SHARED, &[]),
    (ADAPTERS, &["plugin/..", "state/..", "notify/.."]),
    (REGISTRY, &["connector/registry"]),
    // The stages, in the order of a record's way: a later one may use an earlier one.
    (
        "5a",
        &[
            "pipeline/binding/..",
            "pipeline/coalesce",
            "pipeline/mapping",
            "pipeline/conflict",
            "pipeline/loop_prevention",
            "pipeline/delete_guard",
        ],
    ),
    ("5b", &["pipeline/transform/.."]),
    ("5c", &["pipeline/validation/.."]),
    ("5d", &["pipeline/reconcile/.."]),
    ("5e", &["pipeline/apply/.."]),
    // What reads, calls the stages, writes and commits.
    (
        "6",
        &[
            "pipeline pipeline/guards pipeline/item/.. pipeline/keyed pipeline/linked pipeline/lookup pipeline/match_on pipeline/matching pipeline/recover pipeline/resolve pipeline/rollout pipeline/ruling pipeline/tests/..",
        ],
    ),
    ("7", &["runtime/.."]),
    ("8a", &["http/..", "sandbox/.."]),
    ("8b", &["cli/.."]),
    ("8c", &["lib main"]),
    // Tests of the whole.
    ("9", &["simulation/.."]),
];
const SHARED: &str = "4a";
const ADAPTERS: &str = "4b";
const REGISTRY: &str = "4c";

/// The only files outside an adapter's folder that may name it.
const WIRING: &[&str] = &["connector/registry", "cli/", "pipeline/tests/", "simulation"];

const LINES_MAX: usize = 500;
/// wasmtime's `deserialize_file`, mimalloc's `mi_option_set_default` and a look at sqlx's sockets are the calls that need it.
const UNSAFE_EXCEPTIONS_MAX: usize = 4;
const UNSAFE_PLACES: &[&str] = &["plugin", "main", "connector/nodelay"];
/// They say nothing of what is inside.
const EMPTY_WORDS: &[&str] = &[
    "base",
    "common",
    "core",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "processor",
    "processors",
    "util",
    "utils",
];

/// A source file: its path from the root of the repository, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Path of the file below src/ without its ending, `/mod` left out: `pipeline/item`, `connector/postgres`, `lib`.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        Some(inside.strip_suffix("/mod").unwrap_or(inside))
    }

    /// Every path that the file uses, from the root of the crate.
    fn used(&self) -> Vec<paths::Used> {
        let own_path: Vec<String> = match self.module() {
            None | Some("lib" | "main") => Vec::new(),
            Some(module) => module.split('/').map(str::to_owned).collect(),
        };
        paths::used(&self.text, &own_path)
    }
}

/// Where a module stands: the index of its row, and the name that it shares with the files it belongs together with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    row: usize,
    unit: String,
}

struct Tree {
    /// Every module, with its place if it has one.
    places: BTreeMap<String, Option<Place>>,
    /// Second names: `plugin/Catalog` is what `plugin/catalog/Catalog` is called outside.
    names: BTreeMap<String, String>,
}

impl Tree {
    fn new(sources: &[Source]) -> Self {
        let modules: Vec<&str> = sources.iter().filter_map(Source::module).collect();
        let places = modules.iter().map(|module| ((*module).to_owned(), place(module, &modules))).collect();
        let mut names = BTreeMap::new();
        for (source, module) in sources.iter().filter_map(|source| Some((source, source.module()?))) {
            for used in source.used().into_iter().filter(|used| is_facade(module, used)) {
                let name = used.segments.last().map_or("", String::as_str);
                names.insert(format!("{module}/{name}"), used.segments.join("/"));
            }
        }
        Self { places, names }
    }

    /// The file that a path leads into: the longest part of it that is a module. The rest names items.
    fn file_of(&self, path: &[String]) -> String {
        let parts = (1..=path.len()).rev().map(|length| path[..length].join("/"));
        for part in parts {
            // A module that has a function of its own name stays the module.
            if let Some(name) = self.names.get(&part).filter(|name| !covers(&format!("{part}/.."), name)) {
                return self.file_of(&name.split('/').map(str::to_owned).collect::<Vec<_>>());
            }
            if self.places.contains_key(&part) {
                return part;
            }
        }
        "lib".to_owned()
    }
}

/// Whether a path is what a module calls one of its children's items by for others.
fn is_facade(module: &str, used: &paths::Used) -> bool {
    used.reexported && covers(&format!("{module}/.."), &used.segments.join("/"))
}

fn place(module: &str, modules: &[&str]) -> Option<Place> {
    let listed = ROWS.iter().enumerate().find_map(|(row, (_, units))| {
        let unit = units.iter().find(|unit| unit.split(' ').any(|pattern| covers(pattern, module)))?;
        Some(Place { row, unit: (*unit).to_owned() })
    });
    listed.or_else(|| connector_place(module, modules))
}

fn covers(pattern: &str, module: &str) -> bool {
    match pattern.strip_suffix("/..") {
        Some(root) => module == root || module.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')),
        None => module == pattern,
    }
}

/// A folder in connector/ is one system; a file there is what systems share.
fn connector_place(module: &str, modules: &[&str]) -> Option<Place> {
    let name = module.strip_prefix("connector/")?.split('/').next()?;
    let unit = format!("connector/{name}");
    let is_folder = modules.iter().any(|other| other.starts_with(&format!("{unit}/")));
    let label = if is_folder { ADAPTERS } else { SHARED };
    let row = ROWS.iter().position(|(other, _)| *other == label)?;
    Some(Place { row, unit: if is_folder { unit } else { "connector's shared files".to_owned() } })
}

/// Everything that is wrong with these sources, a line each.
fn problems(sources: &[Source]) -> Vec<String> {
    let tree = Tree::new(sources);
    let mut problems = Vec::new();
    let mut unsafe_exceptions = 0;
    for source in sources {
        problems.extend(file_problems(source));
        let Some(module) = source.module() else { continue };
        match tree.places.get(module).cloned().flatten() {
            Some(place) => problems.extend(arrow_problems(source, module, &place, &tree)),
            None => problems.push(format!("{}: has no layer; put it into ROWS", source.path)),
        }
        let tokens = paths::tokens(&source.text);
        if module.starts_with("plugin/") || UNSAFE_PLACES.contains(&module) {
            unsafe_exceptions += tokens.iter().filter(|token| token.text == "unsafe_code").count();
        } else if let Some(token) = tokens.iter().find(|token| token.text.starts_with("unsafe")) {
            problems.push(format!("{}:{}: unsafe outside {UNSAFE_PLACES:?}", source.path, token.line));
        }
    }
    if unsafe_exceptions > UNSAFE_EXCEPTIONS_MAX {
        problems.push(format!("{unsafe_exceptions} exceptions for unsafe code, {UNSAFE_EXCEPTIONS_MAX} allowed"));
    }
    problems
}

fn arrow_problems(source: &Source, module: &str, from: &Place, tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for used in source.used().into_iter().filter(|used| !is_facade(module, used)) {
        let target = tree.file_of(&used.segments);
        let Some(to) = tree.places.get(&target).cloned().flatten() else { continue };
        if to.unit == from.unit {
            continue;
        }
        let at = format!("{}:{}: uses {}", source.path, used.line, used.segments.join("::"));
        if to.row >= from.row {
            problems.push(format!("{at}, row {} from row {}", ROWS[to.row].0, ROWS[from.row].0));
        }
        if ROWS[to.row].0 == ADAPTERS && !WIRING.iter().any(|wiring| module.starts_with(wiring)) {
            problems.push(format!("{at}, an adapter, which only {} may name", WIRING.join(" and ")));
        }
    }
    problems
}

fn file_problems(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{}: {lines} lines, {LINES_MAX} allowed; split it", source.path));
    }
    if source.path.ends_with(".rs") && !source.text.starts_with("//!") {
        problems.push(format!("{}: does not begin with `//!`: what it does, and what it must not do", source.path));
    }
    let words = source.path.split(['/', '_', '.', '-']);
    for word in words.filter(|word| EMPTY_WORDS.contains(word)) {
        problems.push(format!("{}: `{word}` says nothing of what is inside", source.path));
    }
    problems
}

/// The sources of the host, its tests and its guests.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches", "plugins"].iter().map(|name| root.join(name)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "node_modules"].contains(&name.as_str()) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if ["rs", "sh", "c", "js", "py"].iter().any(|ending| path.extension().is_some_and(|e| e == *ending))
            {
                let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                sources.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[test]
fn the_sources_keep_to_the_layers_and_limits() {
    let sources = repository();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "found no sources");
    let problems = problems(&sources);
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

const FACADE: &str = "//! Ordinary.\nmod engine;\npub use engine::{Engine, Store};\n";

/// A source tree in which only `path` is out of the ordinary.
fn problems_of(path: &str, text: &str) -> Vec<String> {
    let ordinary = [
        "lib",
        "main",
        "error",
        "value",
        "record",
        "change",
        "config/mod",
        "connector/mod",
        "connector/registry",
        "connector/change_log",
        "connector/sqlite/mod",
        "connector/sqlite/source",
        "connector/postgres/mod",
        "connector/postgres/source",
        "plugin/engine",
        "plugin/limits",
        "state/mod",
        "state/sqlite",
        "pipeline/mod",
        "pipeline/item",
        "pipeline/conflict",
        "pipeline/coalesce",
        "pipeline/reconcile",
        "runtime/mod",
        "runtime/worker",
        "http/mod",
        "cli/mod",
        "cli/service",
    ];
    let mut sources: Vec<Source> = ordinary
        .iter()
        .map(|module| Source { path: format!("src/{module}.rs"), text: "//! Ordinary.\n".to_owned() })
        .chain([Source { path: "src/plugin/mod.rs".to_owned(), text: FACADE.to_owned() }])
        .filter(|source| source.path != path)
        .collect();
    sources.push(Source { path: path.to_owned(), text: format!("//! Deliberate.\n{text}") });
    problems(&sources)
}

#[test]
fn forbidden_arrows_are_found() {
    let cases = [
        ("src/pipeline/reconcile.rs", "use crate::runtime::Worker;"),
        ("src/pipeline/reconcile.rs", "use super::Pipeline;"),
        ("src/pipeline/reconcile.rs", "use super::{conflict::{self, Times}, item::Item};"),
        ("src/pipeline/reconcile.rs", "fn f() -> crate::runtime::worker::Worker { loop {} }"),
        ("src/pipeline/coalesce.rs", "use crate::pipeline::conflict;"),
        ("src/pipeline/mod.rs", "use crate::state::sqlite::Sqlite;"),
        ("src/runtime/worker.rs", "use crate::plugin::Engine;"),
        ("src/runtime/worker.rs", "use crate::{error::Result, plugin::{Catalogue, engine::Engine}};"),
        ("src/connector/sqlite/source.rs", "use super::super::postgres::quote;"),
        ("src/connector/sqlite/mod.rs", "use super::postgres;"),
        ("src/connector/change_log.rs", "use super::sqlite::Sqlite;"),
        ("src/connector/mod.rs", "pub mod registry;\nuse registry::connect;"),
        ("src/state/mod.rs", "use crate::plugin::Digest;"),
        ("src/config/mod.rs", "mod raw { fn f() { super::super::connector::open() } }"),
        ("src/error.rs", "use crate::bail;"),
        ("src/http/mod.rs", "use crate::cli;"),
    ];
    for (path, text) in cases {
        assert!(!problems_of(path, text).is_empty(), "not found in {path}: {text}");
    }
}

#[test]
fn allowed_arrows_are_not_reported() {
    let cases = [
        ("src/pipeline/reconcile.rs", "use super::conflict;\nmod tests { use super::*; }"),
        (
            "src/pipeline/reconcile.rs",
            "// crate::runtime\n/* super::item /* nested */ */ const A: &str = \"crate::cli\";",
        ),
        (
            "src/pipeline/reconcile.rs",
            "const A: &str = r#\"\" crate::cli\"#; const B: char = '\"'; fn f<'a>(_: &'a str) {}",
        ),
        ("src/pipeline/item.rs", "use super::{Pipeline, reconcile};\npub(crate) fn f() {}"),
        ("src/connector/registry.rs", "use super::{Connector, postgres, sqlite};"),
        ("src/connector/sqlite/source.rs", "use super::Sqlite;\nuse crate::connector::change_log;"),
        (
            "src/plugin/engine.rs",
            "use super::limits;\n#[expect(unsafe_code, reason = \"…\")] fn f() { unsafe { g() } }",
        ),
        (
            "src/cli/service.rs",
            "use crate::plugin::Engine;\nuse crate::state::sqlite::Sqlite;\nuse crate::http::Server;",
        ),
        ("src/main.rs", "fn main() { tidelock::cli::main() }"),
    ];
    for (path, text) in cases {
        assert_eq!(problems_of(path, text), Vec::<String>::new(), "reported in {path}: {text}");
    }
}

#[test]
fn other_offences_are_found() {
    let cases = [
        ("src/helpers.rs", "", "has no layer"),
        ("src/pipeline/new_stage.rs", "", "has no layer"),
        ("tests/it/conflict_utils.rs", "", "says nothing"),
        ("src/runtime/manager/mod.rs", "", "says nothing"),
        ("src/runtime/worker.rs", "fn f() { unsafe { g() } }", "unsafe outside"),
        ("src/plugin/engine.rs", "#[expect(unsafe_code)] fn f() {}\n".repeat(5).leak(), "exceptions"),
        ("plugins/standard/trim/src/lib.rs", "\n".repeat(LINES_MAX).leak(), "lines"),
    ];
    for (path, text, expected) in cases {
        let found = problems_of(path, text).join("\n");
        assert!(found.contains(expected), "expected `{expected}` for {path}, found: {found}");
    }
    let headless = Source { path: "src/lib.rs".to_owned(), text: "fn f() {}".to_owned() };
    assert!(problems(&[headless]).join("\n").contains("does not begin"));
}
