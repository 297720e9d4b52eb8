//! `create_target`: the target's collection, as it is or as it would be made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::open::{OpenError, looked_up};
use super::worker::Worker;
use crate::change::Ends;
use crate::config::PairConfig;
use crate::connector::{Connector, Creation, Schema};
use crate::error::SyncError;
use crate::pipeline::binding::{ask, blueprint};
use crate::plugin::Plugins;

/// A target that is yet to be made.
#[derive(Debug)]
pub struct Absent {
    /// How.
    pub creation: Creation,
    /// What the system says of it now.
    pub error: SyncError,
}

/// Whether an error says that there is no such collection.
fn is_missing(error: &SyncError) -> bool {
    error.code.ends_with(".no_table")
}

/// The target's catalogue; where the collection may be made and is not there, what it would say.
///
/// # Errors
/// Why the system cannot be asked, or all that cannot be derived from the source.
pub(super) async fn describe(
    config: &PairConfig,
    connectors: &Ends<Arc<dyn Connector>>,
    source: &Schema,
    plugins: &dyn Plugins,
) -> Result<(Schema, Option<Absent>), OpenError> {
    let error = match connectors.target.describe(&config.target).await {
        Err(error) if config.create_target && is_missing(&error) => error,
        described => return Ok((described?, None)),
    };
    let schemas = Ends {
        source: source.clone(),
        target: Schema { columns: Vec::new(), key: Vec::new(), unique: Vec::new(), view: false },
    };
    let answered = ask(config, &schemas, plugins).await.map_err(OpenError::Configuration)?;
    let others = match looked_up(config, &schemas).await {
        Err(OpenError::System(error)) if is_missing(&error) => BTreeMap::new(),
        others => others?,
    };
    let blueprint = blueprint(config, source, plugins, &answered, &others).map_err(OpenError::Configuration)?;
    let creation = connectors.target.creation(&config.target, &blueprint)?;
    Ok((creation.schema.clone(), Some(Absent { creation, error })))
}

impl Worker {
    /// Makes the target's collection, if that is asked for and it is not there; whether it did. One that was there when the pair was last in
    /// use is not made again: what was in it is not known, and what a copy has written is not written twice. A resync says otherwise.
    ///
    /// # Errors
    /// As [`describe`], and where it cannot be made.
    pub(super) async fn make_target(&self) -> Result<bool, OpenError> {
        let config = &self.config;
        if !config.create_target || config.rollout.read_only {
            return Ok(false);
        }
        let progress = self.state.progress(&config.name).await?;
        let used = progress.loaded || progress.mapping.is_some();
        if used && !progress.resync { Ok(false) } else { make(config, self.catalogue.snapshot().as_ref()).await }
    }
}

async fn make(config: &PairConfig, plugins: &dyn Plugins) -> Result<bool, OpenError> {
    let connectors = super::open::connectors(config)?;
    let source = connectors.source.describe(&config.source).await?;
    let (_, absent) = describe(config, &connectors, &source, plugins).await?;
    let Some(absent) = absent else { return Ok(false) };
    connectors.target.define(&config.target, &absent.creation.statements).await?;
    tracing::info!(pair = %config.name, table = %config.target.collection, "made the target's table");
    Ok(true)
}
