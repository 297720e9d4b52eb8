//! Reads configuration files (layer 2): the one place here that touches the disk and the environment. Everything behind it is pure.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::document::{Document, Documents, Step};
use super::raw::{File, Place};
use super::resolve::{self, Context};
use super::{Config, Location, Problem, codes, environment, include, schema, structure};

/// The types of system that the program knows. The caller passes `connector::registry`'s: this layer lies below.
#[derive(Debug, Clone, Copy)]
pub struct Registry<'a> {
    /// Types that can be opened.
    pub system_types: &'a [&'a str],
    /// Types that a configuration may name but this version cannot open.
    pub planned_system_types: &'a [&'a str],
}

/// A configuration that can run, and what it says in vain.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Problems that stop nothing.
    pub warnings: Vec<Problem>,
}

/// Loads files and what they include into one configuration.
///
/// # Errors
/// Every problem of every file, warnings included, in the order of files and lines.
pub fn load(paths: &[PathBuf], registry: &Registry<'_>) -> Result<Loaded, Vec<Problem>> {
    load_with_environment(paths, registry, &environment)
}

/// [`load`] with variables from elsewhere.
///
/// # Errors
/// As `load`.
pub fn load_with_environment(
    paths: &[PathBuf],
    registry: &Registry<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Vec<Problem>> {
    let mut reader = Reader {
        environment,
        seen: BTreeSet::new(),
        documents: Documents::default(),
        files: Vec::new(),
        problems: Vec::new(),
        taken: Vec::new(),
    };
    for path in paths {
        reader.read(path, None);
    }
    if paths.is_empty() {
        let message = "no configuration file is named";
        reader.problems.push(Problem::error(codes::NO_SYNC, &Location::default(), message));
    }
    let mut context = Context::new(&reader.documents, registry, &reader.taken, reader.problems);
    let config = resolve::config(&mut context, &reader.files);
    let problems = presentable(context.into_problems(), paths, &reader.documents, &reader.taken);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    Ok(Loaded { config, warnings: problems })
}

/// Without repetitions, sorted by place, and without anything that came from the environment.
fn presentable(
    problems: Vec<Problem>,
    paths: &[PathBuf],
    documents: &Documents,
    taken: &[(String, String)],
) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut unique: Vec<Problem> = Vec::with_capacity(problems.len());
    for mut problem in problems {
        problem.message = veil(problem.message, taken);
        problem.suggestion = problem.suggestion.map(|text| veil(text, taken));
        let Location { file, line, column, pointer } = problem.at.clone();
        if seen.insert((file, line, column, pointer, problem.code, problem.message.clone())) {
            unique.push(problem);
        }
    }
    let order = |file: &str| {
        let read = documents.0.iter().position(|document| &*document.file == file);
        let named = paths.iter().position(|path| path.as_os_str() == file);
        read.or(named.map(|place| place + documents.0.len()))
    };
    unique.sort_by_key(|problem| (order(&problem.at.file), problem.at.line, problem.at.column));
    unique
}

/// Puts the variable's name back where its value would be seen (I12). Very short values are no secrets.
fn veil(text: String, taken: &[(String, String)]) -> String {
    taken
        .iter()
        .filter(|(_, value)| value.len() > 3)
        .fold(text, |text, (name, value)| text.replace(value, &format!("${{{name}}}")))
}

struct Reader<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    seen: BTreeSet<PathBuf>,
    documents: Documents,
    files: Vec<File>,
    problems: Vec<Problem>,
    taken: Vec<(String, String)>,
}

impl Reader<'_> {
    /// Reads a file and what it includes, once.
    fn read(&mut self, path: &Path, included_by: Option<&Location>) {
        let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(identity) {
            return;
        }
        let named = Location { file: path.display().to_string().into(), ..Location::default() };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(reason) => {
                let message = format!("cannot read {}: {reason}", path.display());
                self.problems.push(Problem::error(codes::UNREADABLE, included_by.unwrap_or(&named), message));
                return;
            }
        };
        match Document::parse(path, text) {
            Ok(document) => self.add(document),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn add(&mut self, mut document: Document) {
        let number = u32::try_from(self.documents.0.len()).unwrap_or(u32::MAX);
        let checked = structure::check(&mut document, number, schema(), self.environment);
        self.problems.extend(checked.problems);
        self.taken.extend(checked.taken);
        let root = document.at(Document::ROOT);
        let path = document.path.clone();
        self.documents.0.push(document);
        let Some(value) = checked.value else { return };
        match File::deserialize(value) {
            Ok(file) => {
                let (root, include) = (file.at, file.include.clone().unwrap_or_default());
                // The includer comes first: what is not said is relative to its folder.
                self.files.push(file);
                self.include(&path, root, &include);
            }
            // `structure` checks all that the schema says; this is for what a schema cannot say.
            Err(error) => {
                self.problems.push(Problem::error(codes::INVALID_VALUE, &root, format!("cannot be read: {error}")));
            }
        }
    }

    fn include(&mut self, path: &Path, root: Place, patterns: &[String]) {
        let folder = path.parent().unwrap_or(Path::new(""));
        for (index, pattern) in patterns.iter().enumerate() {
            let place = self.documents.below(root, &[Step::Key("include"), Step::Item(index)]);
            let at = self.documents.at(place.unwrap_or(root));
            let found = include::matches(folder, pattern);
            if found.is_empty() {
                let message = format!("no file matches \"{pattern}\"");
                self.problems.push(Problem::warning(codes::EMPTY_INCLUDE, &at, message));
            }
            for path in found {
                self.read(&path, Some(&at));
            }
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    if path.is_dir() {
        return Err("it is a folder; name the files in it".to_owned());
    }
    let bytes = fs::read(path).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        if is_missing { "there is no such file".to_owned() } else { error.to_string() }
    })?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
