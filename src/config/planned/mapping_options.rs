//! `mapping_options.timestamp_format` (layer 2).

/// How times are written where the other side stores text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampFormat {
    /// `2026-01-31T12:00:00Z`.
    #[default]
    Iso8601,
    /// Seconds since 1970-01-01 UTC.
    UnixSeconds,
    /// Milliseconds since 1970-01-01 UTC.
    UnixMilliseconds,
}
