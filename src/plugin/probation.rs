//! A version that took another one's place is on probation: where it fails clearly more often than the one before, it is taken back by
//! itself, and the batch that showed it is run again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::catalog::Catalog;
use super::host::{LoadedFunction, LoadedPlugin};
use super::limits::ROLLBACK_VALUES_MIN;
use super::target::Target;
use super::{PluginError, ValueError};
use crate::config::PluginRollback;

/// The code of a version that was taken back, and of the calls that are to be made again without it.
pub(super) const ROLLED_BACK: &str = "plugin.rolled_back";

/// Errors of a whole call that say that the version cannot do what the one before did with the very same configuration.
const UNFIT: [&str; 6] = [
    "plugin.breaker_open",
    "plugin.contract",
    "plugin.invalid_params",
    "plugin.open_failed",
    "plugin.start_failed",
    "plugin.wrong_role",
];

impl Target {
    /// Counts a call that has ended, and takes the version back where it has shown itself unfit: its batch is then run again.
    ///
    /// # Errors
    /// `plugin.rolled_back`, else what the call itself says.
    pub(super) fn account<T>(
        &self,
        values: usize,
        took: Duration,
        result: Result<Vec<Result<T, ValueError>>, PluginError>,
    ) -> Result<Vec<Result<T, ValueError>>, PluginError> {
        let function = self.function()?;
        if let Ok(rows) = &result {
            function.counts.add(values, rows.iter().filter(|row| row.is_err()).count(), took);
        }
        let probation = self.plugin.probation().clone();
        if let Some(probation) = probation {
            if let Some(reason) = probation.failed(function, values, result.as_ref().err()) {
                if let Some(catalog) = probation.catalog.upgrade() {
                    catalog.roll_back(&self.plugin, &probation.before, &reason);
                }
            } else if probation.is_over(&self.plugin) {
                *self.plugin.probation() = None;
            }
        }
        // Also what other pairs were doing with it meanwhile.
        if self.plugin.is_rolled_back() {
            let message =
                format!("this version of plugin `{}` was taken back; the batch is run again", self.plugin.stem);
            return Err(PluginError::new(ROLLED_BACK, message));
        }
        result
    }
}

/// What a version has to prove, and what is put back if it does not.
pub(super) struct Probation {
    /// The last version that proved itself.
    pub(super) before: Arc<LoadedPlugin>,
    pub(super) rules: PluginRollback,
    pub(super) catalog: Weak<Catalog>,
}

impl Probation {
    /// Why the version has to go after this call of so many values, if so. `error`: why the call as a whole failed.
    pub(super) fn failed(
        &self,
        function: &LoadedFunction,
        values: usize,
        error: Option<&PluginError>,
    ) -> Option<String> {
        let before = self.before.function(&function.name)?;
        if let Some(error) = error {
            let unfit = UNFIT.contains(&error.code) && before.counts.values() > 0;
            return unfit.then(|| error.to_string());
        }
        let values = u64::try_from(values).unwrap_or(u64::MAX);
        if function.counts.values().saturating_sub(values) >= self.rules.window_values {
            return None;
        }
        let rate = function.counts.error_rate(ROLLBACK_VALUES_MIN)?;
        let usual = before.counts.error_rate(ROLLBACK_VALUES_MIN).unwrap_or_default();
        (rate > usual + self.rules.error_rate).then(|| {
            format!(
                "`{}` fails on {:.1} % of its first {} values, {:.1} % before",
                function.name,
                100.0 * rate,
                function.counts.values(),
                100.0 * usual
            )
        })
    }

    /// Whether every function that either version was called for has been through its window.
    pub(super) fn is_over(&self, plugin: &LoadedPlugin) -> bool {
        plugin.functions.iter().all(|function| {
            let before = self.before.function(&function.name).map_or(0, |before| before.counts.values());
            let values = function.counts.values();
            before.max(values) == 0 || values >= self.rules.window_values
        })
    }
}
