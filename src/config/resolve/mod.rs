//! Raw → typed (layer 2): pure, collects every problem. Modules are named like the keys that they read.
//!
//! Every function returns a value even where it reported an error: the loader refuses the whole in that case, and the value only
//! serves to find more problems.

use super::document::{Documents, Step};
use super::load::Registry;
use super::raw::{File, Place};
use super::{Config, Location, Problem, codes};

mod capture;
mod conflict_resolution;
mod credentials;
mod endpoint;
mod error_handling;
mod field_mappings;
mod field_selection;
mod hub;
mod lookups;
mod monitoring;
mod names;
mod pair;
mod record_transforms;
mod schema_drift;
mod scope;
mod service;
mod sync_type;
mod syncs;
mod validation_rules;

pub(super) use service::{is_grantable, is_loopback};

/// What every step needs: where things stand, what the program knows, and where problems go.
pub(crate) struct Context<'a> {
    documents: &'a Documents,
    registry: &'a Registry<'a>,
    /// Name and value of what was taken from the environment.
    taken: &'a [(String, String)],
    problems: Vec<Problem>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        documents: &'a Documents,
        registry: &'a Registry<'a>,
        taken: &'a [(String, String)],
        problems: Vec<Problem>,
    ) -> Self {
        Self { documents, registry, taken, problems }
    }

    /// Whether a text has something in it that came from the environment. Such a text may be shown as it is (`load` puts the
    /// variable's name back), but not in part or changed.
    fn is_taken(&self, text: &str) -> bool {
        self.taken.iter().any(|(_, value)| !value.is_empty() && text.contains(value.as_str()))
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Warns that a key is read in vain.
    fn no_effect(&mut self, at: &Location, key: &str, instead: &str) {
        let message = format!("\"{key}\" has no effect yet: {instead}");
        self.report(Problem::warning(codes::NO_EFFECT, at, message));
    }

    /// Two keys of one object that should say the same and do not.
    fn contradiction(&mut self, at: &Location, first: &str, second: &str) {
        let message = format!("\"{first}\" and \"{second}\" say different things");
        self.report(Problem::error(codes::CONTRADICTION, at, message).suggest("keep one of them"));
    }

    /// Where an object stands.
    fn at(&self, place: Place) -> Location {
        self.documents.at(place)
    }

    /// Where the value of a key stands; the object where there is none.
    fn at_key(&self, place: Place, key: &str) -> Location {
        self.at_path(place, &[Step::Key(key)])
    }

    /// Where the value at a path stands; the object where there is none.
    fn at_path(&self, place: Place, path: &[Step<'_>]) -> Location {
        self.at(self.documents.below(place, path).unwrap_or(place))
    }

    /// Whether a problem was reported about the value of a key already.
    fn is_broken(&self, place: Place, key: &str) -> bool {
        let value = self.documents.below(place, &[Step::Key(key)]);
        value.and_then(|place| self.documents.document(place)?.node(place.node)).is_some_and(|node| node.broken)
    }

    /// Whether the value of a key is written out in the file, and not taken from the environment.
    fn is_literal(&self, place: Place, key: &str) -> bool {
        let value = self.documents.below(place, &[Step::Key(key)]);
        value.and_then(|place| self.documents.document(place)?.node(place.node)).is_some_and(|node| !node.interpolated)
    }

    /// Reports a key that has to be there, unless something was said about it already.
    fn missing(&mut self, place: Place, key: &str, message: &str, suggestion: &str) {
        if !self.is_broken(place, key) {
            self.report(Problem::error(codes::MISSING_KEY, &self.at(place), message).suggest(suggestion));
        }
    }
}

/// The configuration that all files say together.
pub(crate) fn config(context: &mut Context<'_>, files: &[File]) -> Config {
    let mut service = service::Service::default();
    let mut pairs = Vec::new();
    for file in files {
        service.read(context, file);
        syncs::read(context, file, &mut pairs);
    }
    names::check_unique(context, &pairs);
    lookups::connect(context, &mut pairs);
    if pairs.is_empty()
        && !context.problems.iter().any(Problem::is_error)
        && let Some(first) = files.first()
    {
        let message = "there is no sync in this configuration";
        let at = context.at(first.at);
        context.report(
            Problem::error(codes::NO_SYNC, &at, message).suggest("add \"source\" and \"target\", or \"syncs\""),
        );
    }
    service.config(context, files, pairs)
}
