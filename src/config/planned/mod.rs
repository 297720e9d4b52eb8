//! Parts of the configuration that are read and checked but have no effect yet (layer 2). Each module is named like its key.

mod mapping_options;
mod monitoring;
mod notifications;

pub use mapping_options::TimestampFormat;
pub use monitoring::{Alerting, Metric, Monitoring};
pub use notifications::{Channel, Notifications, Threshold};

/// What a pair's configuration says but has no effect yet; `check` names each in a `config.no_effect` warning.
#[derive(Debug, Clone, Default)]
pub struct Planned {
    /// `monitoring`, but for the log level.
    pub monitoring: Monitoring,
    /// `error_handling.notifications`.
    pub notifications: Notifications,
    /// `mapping_options.timestamp_format`.
    pub timestamp_format: TimestampFormat,
}
