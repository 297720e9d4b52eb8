//! What waits for a person, and what people decide about it (layer 3).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{End, Ends};
use crate::record::{DecodeError, Key, Record, decode_values, encode_values};
use crate::value::Value;

/// Why a record waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewKind {
    /// A transform or a rule refused it.
    Rejected,
    /// Both sides changed it, and the policy leaves that to a person.
    Conflict,
    /// It matches several records of the other side, or one that is taken.
    Ambiguous,
    /// A unique value of it belongs to another record already.
    UniqueViolation,
    /// Its system refused the write.
    Failed,
    /// More deletes than the delete guard lets through.
    DeleteGuard,
    /// It went back and forth between the sides.
    Loop,
    /// A record that it refers to is not linked yet: it goes on by itself once that is.
    Waiting,
}

impl ReviewKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Rejected,
        Self::Conflict,
        Self::Ambiguous,
        Self::UniqueViolation,
        Self::Failed,
        Self::DeleteGuard,
        Self::Loop,
        Self::Waiting,
    ];

    /// `rejected`, `conflict`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Ambiguous => "ambiguous",
            Self::UniqueViolation => "unique_violation",
            Self::Failed => "failed",
            Self::DeleteGuard => "delete_guard",
            Self::Loop => "loop",
            Self::Waiting => "waiting",
        }
    }

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A record that cannot go on, as the pipeline finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The end whose record it is.
    pub end: End,
    /// Its key there.
    pub key: Key,
    /// Key of its counterpart, where it has one.
    pub other: Option<Key>,
    /// What holds it up.
    pub kind: ReviewKind,
    /// Stable code: the plugin's own (`invalid-phone`) or a dotted one of ours.
    pub code: String,
    /// Why, for people. No values.
    pub message: String,
    /// The field at fault, where there is one.
    pub field: Option<String>,
    /// Digest of the plugin that refused it.
    pub digest: Option<String>,
    /// Target's names of the contested fields; empty where the whole record is, or nothing.
    pub contested: Vec<String>,
    /// Both images as they were decided; `None` where there is no record.
    pub now: Ends<Option<Record>>,
    /// What was agreed.
    pub base: Option<Ends<Record>>,
    /// The record that it waits for, where it does.
    pub waits_for: Option<Parent>,
}

/// A record of another pair (or the same) that a record refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Name of the pair that links it.
    pub pair: Arc<str>,
    /// Its side there.
    pub end: End,
    /// Its key.
    pub key: Key,
}

impl Finding {
    /// A finding about one record, of which no more is known.
    pub fn new(end: End, key: Key, kind: ReviewKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            end,
            key,
            other: None,
            kind,
            code: code.into(),
            message: message.into(),
            field: None,
            digest: None,
            contested: Vec::new(),
            now: Ends::default(),
            base: None,
            waits_for: None,
        }
    }

    /// With the record's own image, where that is all there is.
    #[must_use]
    pub fn with_image(mut self, image: Record) -> Self {
        *self.now.get_mut(self.end) = Some(image);
        self
    }

    /// Names the images that were looked at: a decision made about others is refused.
    pub fn version(&self) -> String {
        version(Ends { source: self.now.source.as_ref(), target: self.now.target.as_ref() })
    }
}

/// Names two images: 16 hexadecimal digits of a hash.
pub fn version(now: Ends<Option<&Record>>) -> String {
    let mut hash = Sha256::new();
    for image in [now.source, now.target] {
        let bytes = image.map(named_values).unwrap_or_default();
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A record with its names: name, value, name, value, …
pub fn named_values(record: &Record) -> Vec<u8> {
    let fields = record.iter().flat_map(|(name, value)| [Some(Value::Text(name.to_owned())), Some(value.clone())]);
    encode_values(&fields.collect::<Vec<_>>())
}

/// Reads [`named_values`].
///
/// # Errors
/// Where the bytes are not such a form.
pub fn of_named_values(bytes: &[u8]) -> Result<Record, DecodeError> {
    let parts = decode_values(bytes)?;
    let field = |pair: &[Option<Value>]| match pair {
        [Some(Value::Text(name)), Some(value)] => Ok((name.clone(), value.clone())),
        _ => Err(DecodeError),
    };
    Ok(Record::of(parts.chunks(2).map(field).collect::<Result<Vec<_>, _>>()?))
}

/// A record that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Number of the item.
    pub id: i64,
    /// Name of the pair.
    pub pair: String,
    /// What was found.
    pub finding: Finding,
    /// [`Finding::version`] as it was found.
    pub version: String,
    /// When it was first found: microseconds since 1970-01-01 UTC.
    pub at: i64,
    /// When it was last looked at.
    pub seen: i64,
    /// Later changes of the record that wait behind it.
    pub later: u64,
}

/// Which reviews are meant; what is `None` says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReviewFilter {
    /// Of this pair.
    pub pair: Option<String>,
    /// Of this kind.
    pub kind: Option<ReviewKind>,
    /// With this code.
    pub code: Option<String>,
    /// About this field.
    pub field: Option<String>,
    /// With a number above this.
    pub after: Option<i64>,
}

impl ReviewFilter {
    /// All of a pair.
    pub fn pair(name: &str) -> Self {
        Self { pair: Some(name.to_owned()), ..Self::default() }
    }
}

/// What a person wants: nothing at all is another try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// Whose record counts where both sides disagree, and where the other's was refused.
    pub take: Option<End>,
    /// Values of the person's own, by the target's names of the fields.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub set: serde_json::Map<String, serde_json::Value>,
}

impl Ruling {
    /// Whether it asks for nothing but another try as things are now.
    pub fn is_retry(&self) -> bool {
        self.take.is_none() && self.set.is_empty()
    }
}

/// A ruling about one review.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Number of the decision; 0 before it is stored.
    pub id: i64,
    /// Number of the review.
    pub review: i64,
    /// Version of the review that the person looked at: of no account where nothing is wanted but another try.
    pub version: String,
    /// What is to be done.
    pub ruling: Ruling,
    /// Who says so.
    pub actor: String,
    /// When: microseconds since 1970-01-01 UTC.
    pub at: i64,
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was carried out.
    Applied,
    /// The record has changed since the person looked, or another decision took this one's place: it was not carried out.
    Stale,
    /// It could not be carried out: the review says why.
    Refused,
}

/// What became of a decision, and why.
pub type Outcome = (Verdict, String);

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Applied, Self::Stale, Self::Refused];

    /// `applied`, `stale` or `refused`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_tells_images_apart() {
        let record = |value| Record::of([("a", Value::Int(value))]);
        let of = |source: Option<&Record>, target: Option<&Record>| version(Ends { source, target });
        let (one, two) = (record(1), record(2));
        assert_eq!(of(Some(&one), None), of(Some(&record(1)), None));
        let all = [of(Some(&one), None), of(None, Some(&one)), of(Some(&one), Some(&two)), of(None, None)];
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        for kind in ReviewKind::ALL {
            assert_eq!(ReviewKind::of(kind.name()), Some(kind));
        }
    }
}
