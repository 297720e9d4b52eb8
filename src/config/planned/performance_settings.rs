//! `performance_settings.parallelism` and `.index_recommendation` (layer 2).

/// What is said about speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerformanceSettings {
    /// Batches at once.
    pub parallelism: u32,
    /// Whether missing indexes on key fields are reported.
    pub index_recommendation: bool,
}

impl Default for PerformanceSettings {
    fn default() -> Self {
        Self { parallelism: 1, index_recommendation: false }
    }
}
