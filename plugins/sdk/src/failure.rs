//! Why a value, a record or a conflict could not be dealt with.

use crate::bindings::transforms::tidelock::plugin::types::{PluginError, RowError};
use crate::params::json_text;

/// Why one value could not be transformed. It becomes null in the output, and the configuration's `on_error` decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Short kebab-case word, stable per plugin: operators filter by it.
    pub code: &'static str,
    /// For people. Never the value itself: messages end up in logs.
    pub message: String,
}

impl Failure {
    /// A failure with a stable code and a message that does not repeat the value.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn at(self, row: u32) -> RowError {
        RowError { row, code: self.code.to_owned(), message: self.message }
    }
}

/// A failure of the whole call that trying again does not mend.
pub(crate) fn call_failure(code: &str, message: impl Into<String>) -> PluginError {
    PluginError { code: code.to_owned(), message: message.into(), retryable: false }
}

pub(crate) fn unknown_function<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> PluginError {
    let known = known.collect::<Vec<_>>().join(", ");
    call_failure("unknown-function", format!("this plugin has no function {}; it has {known}", json_text(name)))
}
