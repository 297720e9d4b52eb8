//! What happens to plugins while the service runs: for logs, metrics, the API and the dashboard.

use std::sync::Arc;

use super::PluginError;

/// What happened to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Happened {
    /// It is new.
    Loaded,
    /// It took the place of another version.
    Replaced,
    /// A file was refused; what was loaded before stays.
    Refused,
    /// It failed too often, and the version before is back.
    #[serde(rename = "rolled_back")]
    RolledBack,
    /// Its file is gone, and so is it.
    Unloaded,
}

/// One thing that happened, for logs, metrics and the dashboard.
#[derive(Debug, Clone)]
pub struct CatalogEvent {
    /// What.
    pub happened: Happened,
    /// To which plugin.
    pub stem: Arc<str>,
    /// SHA-256 of the file in question, lower-case hex; empty where it could not be read.
    pub digest: Arc<str>,
    /// From reading the file to its last example; 0 where nothing was loaded.
    pub load_ms: u64,
    /// Why it was refused or taken back.
    pub reason: Option<PluginError>,
}

/// A file that is not in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFailure {
    /// SHA-256 of the file, lower-case hex, where it could be read.
    pub digest: Option<Arc<str>>,
    /// Why it was refused.
    pub error: PluginError,
    /// Digest of the version that stays in use, if any.
    pub kept: Option<Arc<str>>,
}
