//! `tidelock plugin list`: every function that can be used, and the files that are not.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{Folder, settings, short, warn_of_failures};
use crate::cli::output::Table;
use crate::plugin::{Catalog, FunctionDetail, PluginDetail};

pub(super) async fn run(folder: Folder, json: bool) -> anyhow::Result<ExitCode> {
    let set = Catalog::start(settings(folder.plugins, &folder.cache)?).await?.current();
    warn_of_failures(&set);
    let plugins = set.details();
    if json {
        let rows: Vec<FunctionRow<'_>> = plugins.iter().flat_map(FunctionRow::all).collect();
        println!("{}", json!(rows));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        Table::new(&["function", "role", "plugin", "digest", "state", "load ms", "idempotent", "what it does"]);
    for plugin in &plugins {
        for function in &plugin.functions {
            let idempotent = if function.idempotent { "yes" } else { "no" };
            let state = if function.breaker_open { "breaker open" } else { plugin.state };
            let load_ms = plugin.load_ms.to_string();
            let digest = short(&plugin.digest);
            let cells =
                [&function.name, &function.role, &plugin.plugin, digest, state, &load_ms, idempotent, &function.doc];
            table.row(cells.map(str::to_owned));
        }
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

/// A line of `plugin list --json`.
#[derive(Serialize)]
struct FunctionRow<'a> {
    plugin: &'a str,
    version: &'a str,
    digest: &'a str,
    state: &'a str,
    load_ms: u64,
    #[serde(flatten)]
    function: &'a FunctionDetail,
}

impl<'a> FunctionRow<'a> {
    fn all(detail: &'a PluginDetail) -> impl Iterator<Item = Self> {
        let PluginDetail { plugin, version, digest, state, load_ms, .. } = detail;
        let row = move |function| Self { plugin, version, digest, state, load_ms: *load_ms, function };
        detail.functions.iter().map(row)
    }
}
