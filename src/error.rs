//! The one error of the sync path and the one decision what to do about it (layer 0).

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What went wrong, as far as the sync has to care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The system cannot be reached, or gave up half-way: worth another try.
    Unavailable,
    /// The system asks us to slow down.
    RateLimited,
    /// Wrong or expired credentials.
    Unauthenticated,
    /// The credentials are right but may not do this.
    PermissionDenied,
    /// The record is no longer what we assumed.
    VersionMismatch,
    /// The system refuses this record's values.
    InvalidRecord,
    /// A table or column is missing or of another type.
    SchemaMismatch,
    /// A defect of ours, or something that was not foreseen.
    Internal,
}

/// What the runtime does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Wait, then do the same again.
    Retry,
    /// Read the current images and decide again.
    Recheck,
    /// Put the record aside for a person; the others go on.
    Review,
    /// Stop the pair and say so: only a person can help.
    Pause,
}

impl ErrorKind {
    /// The one retry decision.
    pub fn disposition(self) -> Disposition {
        match self {
            Self::Unavailable | Self::RateLimited => Disposition::Retry,
            Self::VersionMismatch => Disposition::Recheck,
            Self::InvalidRecord => Disposition::Review,
            Self::Unauthenticated | Self::PermissionDenied | Self::SchemaMismatch | Self::Internal => {
                Disposition::Pause
            }
        }
    }
}

/// An error of the sync path. The text says what we were doing, the collection and the key; never field values or secrets (I12).
#[derive(Debug)]
pub struct SyncError {
    /// The class that decides what happens next.
    pub kind: ErrorKind,
    /// Stable dotted code, listed in `docs/errors.md`.
    pub code: &'static str,
    /// What we were doing, where, and what would be right.
    pub message: String,
    /// How long the system asks us to wait before the next try, where it says so.
    pub retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SyncError {
    /// An error without a cause of its own.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), retry_after: None, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds how long the system asks us to wait.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "internal", message)
    }

    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        self.kind.disposition()
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

impl Error for SyncError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Result of the sync path.
pub type Result<T, E = SyncError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_credentials_pause_and_outages_retry() {
        assert_eq!(ErrorKind::Unauthenticated.disposition(), Disposition::Pause);
        assert_eq!(ErrorKind::Unavailable.disposition(), Disposition::Retry);
        assert_eq!(ErrorKind::InvalidRecord.disposition(), Disposition::Review);
    }
}
