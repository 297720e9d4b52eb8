//! Conflict rules without an effect yet (layer 2).

/// A rule that someone else than the policy decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlannedRule {
    /// A person, in review.
    Manual,
}
