//! The project of a plugin: a folder with its sources and `plugin.json`, which says how they are built.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::plugin::PluginError;

pub(super) mod templates;

/// What makes a folder a project.
const MANIFEST: &str = "plugin.json";
/// Examples of values and what must become of them, one JSON object a line.
const FIXTURES: &str = "fixtures.jsonl";
const NAME_CHARS_MAX: usize = 64;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    /// Rust, with the SDK: the fastest, and every role
    Rust,
    /// C, with generated bindings
    C,
    /// JavaScript, run by QuickJS inside the plugin
    #[value(name = "js", alias = "javascript")]
    JavaScript,
    /// Python, run by CPython inside the plugin
    Python,
}

impl Language {
    /// As people write it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }

    /// Its examples in the repository.
    fn folder(self) -> &'static str {
        match self {
            Self::Rust => "examples/plugins/rust/",
            Self::C => "examples/plugins/c/",
            Self::JavaScript => "examples/plugins/javascript/",
            Self::Python => "examples/plugins/python/",
        }
    }
}

/// The part that a function plays in a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// One field in, one field out
    Transform,
    /// Says what is wrong with a record
    Validator,
    /// Settles a record that changed on both sides
    Resolver,
    /// Several fields in, several out
    RecordTransform,
}

impl Role {
    /// As the command line has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Validator => "validator",
            Self::Resolver => "resolver",
            Self::RecordTransform => "record-transform",
        }
    }
}

/// `plugin.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    language: Language,
    world: String,
}

/// A folder that can be built.
#[derive(Debug)]
pub(super) struct Project {
    /// The folder, absolute.
    pub(super) dir: PathBuf,
    /// Stem of the file that it becomes.
    pub(super) name: String,
    pub(super) language: Language,
    /// World of the contract that it exports, of `wit/` where the project has that folder.
    pub(super) world: String,
}

impl Project {
    /// Reads a project's manifest.
    ///
    /// # Errors
    /// `plugin.project`: no project, or a manifest that is not right.
    pub(super) fn open(dir: &Path) -> Result<Self, PluginError> {
        let wrong = |message: String| PluginError::new("plugin.project", message);
        let path = dir.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            wrong(format!("`{path}` cannot be read: {error}; `tidelock plugin new NAME` makes a project"))
        })?;
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        let Manifest { name, language, world } = manifest;
        if !is_name(&name) {
            return Err(wrong(format!("{}: `name` {}", path.display(), name_rule())));
        }
        let dir = dir.canonicalize().map_err(|error| wrong(format!("`{}`: {error}", dir.display())))?;
        Ok(Self { dir, name, language, world })
    }

    /// Its fixtures, where it has any.
    pub(super) fn fixtures(&self) -> Option<PathBuf> {
        Some(self.dir.join(FIXTURES)).filter(|path| path.is_file())
    }
}

/// Whether a plugin may have this name: that of a function, so that both can be the same.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|rest| matches!(rest, 'a'..='z' | '0'..='9' | '_'))
}

/// What [`is_name`] wants.
pub(super) fn name_rule() -> String {
    format!("must be small letters, digits and `_`, at most {NAME_CHARS_MAX}, and begin with a letter")
}
