//! `delete_guard` (layer 2).

/// More deletes than this in one window: pause and ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteGuard {
    /// Share of the collection, 0 to 1.
    pub max_fraction: f64,
    /// Fewer deletes than this never pause.
    pub min_count: u64,
}

impl Default for DeleteGuard {
    fn default() -> Self {
        Self { max_fraction: 0.2, min_count: 10 }
    }
}
