//! Conversion of a value to the kind of the column that it is written to.

use super::{Kind, Value};

/// The value does not fit the kind. Says the kinds, never the value (I12).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {from:?} value does not fit {to:?}{hint}")]
pub struct ConvertError {
    /// What it was.
    pub from: Kind,
    /// What it should become.
    pub to: Kind,
    /// More, such as ": not a number".
    pub hint: &'static str,
}
