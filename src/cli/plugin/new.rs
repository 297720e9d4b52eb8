//! `tidelock plugin new`: a project that builds as it is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::project::templates::{project, roles};
use super::project::{Language, Role, is_name, name_rule};
use crate::cli::EXIT_CONFIGURATION;

/// Names that cargo gives no crate: words of the language, and its own crates.
const NO_CRATE_NAMES: &str = "abstract alloc as async await become box break const continue core crate do dyn else enum \
    extern false final fn for gen if impl in let loop macro match mod move mut override priv proc_macro pub ref return \
    self static std struct super test trait true try type typeof unsafe unsized use virtual where while yield";

/// Make a project.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Name of the plugin, its function and the folder
    name: String,
    /// What it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// What its function does; C has transforms only, JavaScript and Python have no record transforms
    #[arg(long, value_enum, default_value = "transform")]
    role: Role,
}

/// Runs the command.
///
/// # Errors
/// Where a file cannot be written.
pub(super) fn run(args: &NewArgs, json: bool) -> anyhow::Result<ExitCode> {
    let NewArgs { name, lang, role } = args;
    let dir = PathBuf::from(name);
    if let Some(message) = obstacle(name, &dir, *lang, *role) {
        eprintln!("error: {message}");
        return Ok(ExitCode::from(EXIT_CONFIGURATION));
    }
    let files = project(*lang, *role, name);
    for (path, content) in &files {
        write(&dir.join(path), content)?;
    }
    if json {
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        println!("{}", json!({"project": name, "role": role.word(), "files": paths}));
    } else {
        println!("{name}/ is a {} in {}; {name}/README.md says what it needs. Next:", role.word(), lang.title());
        println!("  tidelock plugin test {name}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Why there can be no such project.
fn obstacle(name: &str, dir: &Path, language: Language, role: Role) -> Option<String> {
    if !is_name(name) {
        return Some(format!("the name of a plugin {}", name_rule()));
    }
    if language == Language::Rust && NO_CRATE_NAMES.split_whitespace().any(|word| word == name) {
        return Some(format!("a crate cannot be called `{name}`"));
    }
    if dir.symlink_metadata().is_ok() {
        return Some(format!("`{name}` is there already; nothing is written over"));
    }
    let offered = roles(language);
    (!offered.contains(&role)).then(|| {
        let offered: Vec<&str> = offered.into_iter().map(Role::word).collect();
        let (role, language) = (role.word(), language.title());
        format!("there is no template of a {role} in {language}; there is {}", offered.join(", "))
    })
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let shown = || format!("`{}` cannot be written", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(shown)?;
    }
    std::fs::write(path, content).with_context(shown)
}
