//! `tidelock plugin check`: whether the service would take a file.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{Cache, settings, short};
use crate::cli::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::config::PluginLimits;
use crate::plugin::{Catalog, PluginDetail};

pub(super) async fn run(file: PathBuf, grants: Vec<String>, cache: Cache, json: bool) -> anyhow::Result<ExitCode> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let limit = PluginLimits::default().file_bytes;
    let bytes = match tokio::fs::metadata(&file).await {
        Ok(metadata) if metadata.len() > limit => Ok(vec![0; 0]),
        Ok(_) => tokio::fs::read(&file).await,
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("error: `{}` cannot be read: {error}", file.display());
            return Ok(ExitCode::from(EXIT_CONFIGURATION));
        }
    };
    let mut settings = settings(PathBuf::new(), cache)?;
    settings.plugins.grants.insert(stem.clone(), grants);
    let checked = Catalog::empty(settings)?.check(&stem, bytes).await;
    let verdict = Verdict {
        file: file.display().to_string(),
        accepted: checked.is_ok(),
        plugin: checked.as_ref().ok(),
        code: checked.as_ref().err().map(|error| error.code),
        message: checked.as_ref().err().map(|error| error.message.as_str()),
    };
    if json {
        println!("{}", json!(verdict));
    }
    match &checked {
        Ok(plugin) if !json => print_accepted(&verdict.file, plugin),
        Err(error) if !json => eprintln!("{}: refused: {error}", verdict.file),
        _ => {}
    }
    Ok(ExitCode::from(if verdict.accepted { 0 } else { EXIT_FAILED }))
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
