//! Parts of the configuration that are read and checked but have no effect yet (layer 2). Each module is named like its key.

use crate::change::Ends;

mod delete_guard;
mod loop_prevention;
mod mapping_options;
mod monitoring;
mod notifications;
mod performance_settings;

pub use delete_guard::DeleteGuard;
pub use loop_prevention::LoopPrevention;
pub use mapping_options::TimestampFormat;
pub use monitoring::{Alerting, Metric, Monitoring};
pub use notifications::{Channel, Notifications, Threshold};
pub use performance_settings::PerformanceSettings;

/// What a pair's configuration says but has no effect yet; `check` names each in a `config.no_effect` warning.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// `monitoring`, but for the log level.
    pub monitoring: Monitoring,
    /// `error_handling.notifications`.
    pub notifications: Notifications,
    /// `loop_prevention`, where it is said.
    pub loop_prevention: Option<LoopPrevention>,
    /// `delete_guard`, where it is said.
    pub delete_guard: Option<DeleteGuard>,
    /// `deletes.soft_delete.field`.
    pub soft_delete: Option<String>,
    /// `performance_settings`, but for batch size and change detection.
    pub performance_settings: PerformanceSettings,
    /// `mapping_options.timestamp_format`.
    pub timestamp_format: TimestampFormat,
    /// `external_id` of the endpoints.
    pub external_id: Ends<Option<String>>,
}
