//! `tidelock plugin build`: from a project's sources to a component that the service would load.
//!
//! Each language has a file that finds its toolchain and runs it. What comes out is made a component, checked as the service would, and
//! only then put in its place.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::project::templates::{CONTRACT, contract};
use super::project::{Language, Project};
use super::{Cache, check, print_error};
use crate::plugin::{PluginDetail, PluginError};

mod c;
mod component;
mod javascript;
mod python;
mod rust;
mod tool;

/// Build a project.
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The project
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Optimise it (Rust and C)
    #[arg(long)]
    release: bool,
    /// Folder that gets NAME.wasm [default: the project]
    #[arg(long, value_name = "DIR", hide_default_value = true)]
    out: Option<PathBuf>,
    #[command(flatten)]
    cache: Cache,
}

/// A component that passed every check.
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    pub(super) plugin: PluginDetail,
}

/// Runs the command.
///
/// # Errors
/// Where the plugin host does not start.
pub(super) async fn run(args: BuildArgs, json: bool) -> anyhow::Result<ExitCode> {
    let BuildArgs { dir, release, out, cache } = args;
    let built = match Project::open(&dir) {
        Ok(project) => build_into(&project, release, out, &cache).await,
        Err(error) => Err(error),
    };
    Ok(match built {
        Ok((file, built)) => {
            check::print(&file, &Ok(built.plugin), json);
            ExitCode::SUCCESS
        }
        Err(error) => print_error(&error, json),
    })
}

async fn build_into(
    project: &Project,
    release: bool,
    out: Option<PathBuf>,
    cache: &Cache,
) -> Result<(PathBuf, Built), PluginError> {
    let built = build(project, release, cache).await?;
    let file = put(&out.unwrap_or_else(|| project.dir.clone()), &project.name, &built.bytes)?;
    Ok((file, built))
}

/// Builds a project and checks what comes out.
///
/// # Errors
/// `plugin.toolchain`: what is missing and how to get it; `plugin.build_failed`; why the service would refuse it.
pub(super) async fn build(project: &Project, release: bool, cache: &Cache) -> Result<Built, PluginError> {
    let work = project.dir.join("target").join("plugin");
    std::fs::create_dir_all(&work).map_err(|error| cannot_write(&work, &error))?;
    let made = match project.language {
        Language::Rust => rust::build(project, release).await,
        Language::C => c::build(project, release, &work).await,
        Language::JavaScript => javascript::build(project, &wit(project, &work)?, &work).await,
        Language::Python => python::build(project, &wit(project, &work)?, &work).await,
    }?;
    let bytes = std::fs::read(&made).map_err(|error| failed(format!("`{}` was not made: {error}", made.display())))?;
    let bytes = component::of(bytes)?;
    let plugin = check::check(&project.name, bytes.clone(), Vec::new(), cache).await?;
    Ok(Built { bytes, plugin })
}

/// The contract as a folder: the project's own, or the program's.
fn wit(project: &Project, work: &Path) -> Result<PathBuf, PluginError> {
    let own = project.dir.join("wit");
    if own.is_dir() {
        return Ok(own);
    }
    let file = work.join(CONTRACT);
    let folder = work.join("wit");
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, contract()));
    written.map_err(|error| cannot_write(&file, &error))?;
    Ok(folder)
}

/// Writes the component beside its place and renames it: whoever watches the folder never sees half of it.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, PluginError> {
    let (file, beside) = (folder.join(format!("{name}.wasm")), folder.join(format!(".{name}.new")));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&beside, bytes))
        .and_then(|()| std::fs::rename(&beside, &file));
    written.map_err(|error| cannot_write(&file, &error))?;
    Ok(file)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> PluginError {
    failed(format!("`{}` cannot be written: {error}", path.display()))
}

/// The sources, or what came out of them, are not right.
fn failed(message: impl Into<String>) -> PluginError {
    PluginError::new("plugin.build_failed", message)
}

/// A tool is missing.
fn missing(what: &str, how: &str) -> PluginError {
    PluginError::new("plugin.toolchain", format!("{what}; {how}"))
}
