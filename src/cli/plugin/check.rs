//! `tidelock plugin check`: whether the service would take a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{Cache, settings, short};
use crate::cli::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::config::PluginLimits;
use crate::plugin::{Catalog, PluginDetail, PluginError};

pub(super) async fn run(file: PathBuf, grants: Vec<String>, cache: Cache, json: bool) -> anyhow::Result<ExitCode> {
    let bytes = match read(&file).await {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("error: `{}` cannot be read: {error}", file.display());
            return Ok(ExitCode::from(EXIT_CONFIGURATION));
        }
    };
    let checked = check(&stem(&file), bytes, grants, &cache).await;
    print(&file, &checked, json);
    Ok(ExitCode::from(if checked.is_ok() { 0 } else { EXIT_FAILED }))
}

/// The name that the functions of a file get.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The bytes of a file; of one that is too large to be loaded, only as many as show that.
pub(super) async fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    let limit = PluginLimits::default().file_bytes;
    tokio::fs::File::open(file).await?.take(limit.saturating_add(1)).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Loads a component as the service would, with these grants of WASI.
///
/// # Errors
/// Why it would be refused.
pub(super) async fn check(
    stem: &str,
    bytes: Vec<u8>,
    grants: Vec<String>,
    cache: &Cache,
) -> Result<PluginDetail, PluginError> {
    let mut settings = settings(PathBuf::new(), cache)?;
    settings.plugins.grants.insert(stem.to_owned(), grants);
    Catalog::empty(settings)?.check(stem, bytes).await
}

/// Says what came of a check.
pub(super) fn print(file: &Path, checked: &Result<PluginDetail, PluginError>, json: bool) {
    let verdict = Verdict {
        file: file.display().to_string(),
        accepted: checked.is_ok(),
        plugin: checked.as_ref().ok(),
        code: checked.as_ref().err().map(|error| error.code),
        message: checked.as_ref().err().map(|error| error.message.as_str()),
    };
    match checked {
        _ if json => println!("{}", json!(verdict)),
        Ok(plugin) => print_accepted(&verdict.file, plugin),
        Err(error) => eprintln!("{}: refused: {error}", verdict.file),
    }
}

fn print_accepted(file: &str, plugin: &PluginDetail) {
    let digest = short(&plugin.digest);
    println!("{file}: accepted ({} {}, {digest}, {} ms)", plugin.name, plugin.version, plugin.load_ms);
    for function in &plugin.functions {
        println!("  {} ({}): {}", function.name, function.role, function.doc);
    }
}

/// What `plugin check --json` says.
#[derive(Serialize)]
struct Verdict<'a> {
    file: String,
    accepted: bool,
    #[serde(flatten)]
    plugin: Option<&'a PluginDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}
