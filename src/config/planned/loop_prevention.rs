//! `loop_prevention` (layer 2).

use std::time::Duration;

/// When a record that is updated again and again is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopPrevention {
    /// Whether updates are counted.
    pub enabled: bool,
    /// Window of the count.
    pub detection_window: Duration,
    /// More updates than this in the window are a loop.
    pub max_update_count: u32,
}

impl Default for LoopPrevention {
    fn default() -> Self {
        Self { enabled: true, detection_window: Duration::from_secs(60), max_update_count: 2 }
    }
}
