//! `performance_settings.index_recommendation` (layer 2).

/// What is said about speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerformanceSettings {
    /// Whether missing indexes on key fields are reported.
    pub index_recommendation: bool,
}
