//! `validation_rules` (layer 2).

use super::Location;

/// What the values of a field must look like.
#[derive(Debug, Clone)]
pub struct ValidationRule {
    /// Where it stands in its file.
    pub at: Location,
    /// The source's or the target's name of the field.
    pub field: String,
    /// What is checked.
    pub check: Check,
    /// What becomes of a value that fails.
    pub on_error: OnInvalid,
    /// The function that `standardize_format` tries; `None`: the field's transformation.
    pub standardizer: Option<String>,
}

/// What is checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// An e-mail address.
    EmailFormat,
    /// A regular expression; compiled when the pair is bound.
    Regex(String),
    /// Not null.
    Required,
    /// Characters.
    Length {
        /// At least.
        min: Option<u64>,
        /// At most.
        max: Option<u64>,
    },
    /// A number or a point in time. Bounds are JSON numbers or texts.
    Range {
        /// At least.
        min: Option<serde_json::Value>,
        /// At most.
        max: Option<serde_json::Value>,
    },
    /// One of these values.
    OneOf(Vec<serde_json::Value>),
    /// Of this type.
    Type(String),
    /// What the validator of a plugin says.
    Plugin {
        /// Its name.
        name: String,
        /// JSON object.
        params: String,
    },
}

/// What becomes of a value that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInvalid {
    /// The record reaches no target and waits in review.
    #[default]
    RejectRecord,
    /// The standardizer runs, then the check again; then as `RejectRecord`.
    StandardizeFormat,
    /// The field is written as null.
    SetNull,
    /// The field is not written.
    SkipField,
    /// As `RejectRecord`, on purpose.
    QueueForManualReview,
    /// Only a warning.
    Warn,
}
