//! Reaches both systems of a pair and checks every name of its configuration against them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::absent;
use super::create_target::{self, Absent};
use super::index_recommendation;
use crate::change::{End, Ends};
use crate::config::{CaptureMethod, Endpoint, Mappings, PairConfig, Problem};
use crate::connector::patience::Patient;
use crate::connector::{Connector, OpenOptions, Schema, Side, Source, Target, registry};
use crate::error::SyncError;
use crate::pipeline::binding::{Binding, ask, bind, bind_lookups, suggested};
use crate::pipeline::{Pipeline, Rollout};
use crate::plugin::{Catalogue, Plugins};
use crate::state::StateStore;
use crate::value::Kind;

/// How far behind the newest time seen a poll begins, for writers whose transactions end late.
const POLLING_OVERLAP: Duration = Duration::from_secs(60);

/// Why a pair cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The configuration does not fit the systems: exit code 2.
    Configuration(Vec<Problem>),
    /// A system or plugin is not to be had now.
    System(SyncError),
}

impl From<SyncError> for OpenError {
    fn from(error: SyncError) -> Self {
        Self::System(error)
    }
}

/// A pair with both sides open.
pub struct OpenPair {
    /// Its configuration.
    pub config: Arc<PairConfig>,
    /// Processes batches.
    pub pipeline: Pipeline,
    /// Capture changes.
    pub sources: Ends<Box<dyn Source>>,
    /// What the catalogues say.
    pub schemas: Ends<Schema>,
    /// What will not work as one may think.
    pub warnings: Vec<Problem>,
    /// The statements that would make the target's collection, where it is only taken to be there.
    pub creates: Vec<String>,
    /// The statements that would make indexes which the look-ups lack, where it was opened to look.
    pub indexes: Vec<String>,
}

/// A pair that fits its systems.
pub struct Checked {
    /// The pair, its names known to be right.
    pub binding: Binding,
    /// What the catalogues say.
    pub schemas: Ends<Schema>,
    /// What will not work as one may think.
    pub warnings: Vec<Problem>,
    /// The target, where its collection is yet to be made.
    pub absent: Option<Absent>,
}

/// The connectors of both ends.
///
/// # Errors
/// Where no connector serves the type.
pub fn connectors(config: &PairConfig) -> Result<Ends<Arc<dyn Connector>>, OpenError> {
    Ok(Ends { source: connector(&config.source)?, target: connector(&config.target)? })
}

fn connector(endpoint: &Endpoint) -> Result<Arc<dyn Connector>, OpenError> {
    let patient = |connector| -> Arc<dyn Connector> { Arc::new(Patient(connector)) };
    registry::connector(&endpoint.system_type).map(patient).ok_or_else(|| {
        let text = format!("\"{}\" cannot be opened by this version", endpoint.system_type);
        let hint = format!("there are: {}", registry::SYSTEM_TYPES.join(", "));
        OpenError::Configuration(vec![Problem::error("config.not_available", &endpoint.at, text).suggest(hint)])
    })
}

/// Reads both catalogues and binds the pair to them; opens nothing.
///
/// # Errors
/// All that does not fit, or why a system cannot be reached.
pub async fn check(config: &PairConfig, plugins: &dyn Plugins) -> Result<Checked, OpenError> {
    let connectors = connectors(config)?;
    let source = connectors.source.describe(&config.source).await?;
    let (target, absent) = create_target::describe(config, &connectors, &source, plugins).await?;
    let schemas = Ends { source, target };
    let mut problems = polling_problems(config, &schemas);
    problems.extend(view_problems(config, &schemas));
    let answered = match ask(config, &schemas, plugins).await {
        Ok(answered) => answered,
        Err(more) => {
            problems.extend(more);
            return Err(OpenError::Configuration(problems));
        }
    };
    match bind(config, &schemas, plugins, &answered) {
        Ok((mut binding, warnings)) if problems.is_empty() => {
            let others = looked_up(config, &schemas).await?;
            problems.extend(bind_lookups(&mut binding, config, &schemas, &others));
            for function in binding.functions() {
                if let Err(error) = plugins.probe(&function).await {
                    problems.push(Problem::error(error.code, &config.at, error.message));
                }
            }
            if problems.is_empty() {
                Ok(Checked { binding, schemas, warnings, absent })
            } else {
                Err(OpenError::Configuration(problems))
            }
        }
        Ok(_) => Err(OpenError::Configuration(problems)),
        Err(more) => {
            problems.extend(more);
            Err(OpenError::Configuration(problems))
        }
    }
}

/// What the catalogues say about the pairs that this one looks up.
pub(super) async fn looked_up(
    config: &PairConfig,
    own: &Ends<Schema>,
) -> Result<BTreeMap<Arc<str>, Ends<Schema>>, OpenError> {
    let mut others = BTreeMap::new();
    let Mappings::Listed(listed) = &config.mappings else { return Ok(others) };
    for lookup in listed.iter().filter_map(|mapping| mapping.lookup.as_ref()) {
        let Some(ends) = lookup.ends.as_ref().filter(|_| !others.contains_key(&lookup.pair)) else { continue };
        if lookup.pair == config.name {
            others.insert(Arc::clone(&lookup.pair), own.clone());
            continue;
        }
        let source = connector(&ends.source.1)?.describe(&ends.source.1).await?;
        let target = connector(&ends.target.1)?.describe(&ends.target.1).await?;
        let turned = ends.source.0 == End::Target;
        let schemas = if turned { Ends { source: target, target: source } } else { Ends { source, target } };
        others.insert(Arc::clone(&lookup.pair), schemas);
    }
    Ok(others)
}

fn polling_problems(config: &PairConfig, schemas: &Ends<Schema>) -> Vec<Problem> {
    if config.capture != CaptureMethod::Polling {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (end, flows) in [(End::Source, config.source_to_target), (End::Target, config.target_to_source)] {
        let endpoint = endpoint(config, end);
        if !flows {
            continue;
        }
        let Some(name) = &endpoint.updated_at else {
            let text = format!("polling needs the {} column that moves forward at each write", end.name());
            problems.push(
                Problem::error("config.no_updated_at", &endpoint.at, text).suggest("add \"updated_at\": \"COLUMN\""),
            );
            continue;
        };
        let schema = schemas.get(end);
        if schema.column(name).is_none() {
            let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
            let text = format!("the {} \"{}\" has no column \"{name}\"", end.name(), endpoint.collection);
            problems.push(suggested(Problem::error("mapping.unknown_field", &endpoint.at, text), name, &names));
        }
    }
    problems
}

/// Of a view records are read, by polling; nothing else.
fn view_problems(config: &PairConfig, schemas: &Ends<Schema>) -> Vec<Problem> {
    let flows = Ends { source: config.source_to_target, target: config.target_to_source };
    let mut problems = Vec::new();
    for end in [End::Source, End::Target].into_iter().filter(|end| schemas.get(*end).view) {
        let endpoint = endpoint(config, end);
        let what = format!("the {} \"{}\" is a view", end.name(), endpoint.collection);
        let mut wrong = |why: &str, hint: &str| {
            problems.push(Problem::error("mapping.view", &endpoint.at, format!("{what}: {why}")).suggest(hint));
        };
        if *flows.get(end.other()) {
            let hint = if end == End::Source { "\"sync_type\": \"one_way\"" } else { "name the table behind it" };
            wrong("nothing can be written to it", hint);
        } else if config.capture != CaptureMethod::Polling {
            let hint = "\"change_detection\": \"polling\" in \"performance_settings\", and \"updated_at\": \"COLUMN\" at the endpoint";
            wrong("it has no triggers and no log, so its changes are found by polling only", hint);
        }
    }
    problems
}

/// The endpoint of an end.
pub fn endpoint(config: &PairConfig, end: End) -> &Endpoint {
    match end {
        End::Source => &config.source,
        End::Target => &config.target,
    }
}

/// Opens both sides. Creates nothing in them.
///
/// # Errors
/// As [`check`].
pub async fn open(
    config: Arc<PairConfig>,
    state: Arc<dyn StateStore>,
    catalogue: Arc<dyn Catalogue>,
) -> Result<OpenPair, OpenError> {
    open_for(config, state, catalogue, false).await
}

/// Opens both sides to look at them: nothing can be written to the pair that comes of it. A target that is yet to be made looks like an
/// empty one.
///
/// # Errors
/// As [`check`].
pub async fn open_to_look(
    config: Arc<PairConfig>,
    state: Arc<dyn StateStore>,
    catalogue: Arc<dyn Catalogue>,
) -> Result<OpenPair, OpenError> {
    open_for(config, state, catalogue, true).await
}

async fn open_for(
    config: Arc<PairConfig>,
    state: Arc<dyn StateStore>,
    catalogue: Arc<dyn Catalogue>,
    looks: bool,
) -> Result<OpenPair, OpenError> {
    let checked = check(&config, catalogue.snapshot().as_ref()).await?;
    let missing = if looks { index_recommendation::missing(&config, &checked).await? } else { Vec::new() };
    let Checked { binding, schemas, mut warnings, absent } = checked;
    let connectors = connectors(&config)?;
    let consumer = format!("{}:{}", state.id(), config.name);
    let source = open_side(&connectors, &schemas, &binding, &config, (End::Source, &consumer, looks)).await?;
    let there = absent.is_none();
    let (target, creates) = match absent {
        Some(absent) if looks => (absent::side(), absent.creation.statements),
        Some(absent) => return Err(absent.error.into()),
        None => {
            (open_side(&connectors, &schemas, &binding, &config, (End::Target, &consumer, looks)).await?, Vec::new())
        }
    };
    let rollout = rollout((&connectors, there), &schemas, &binding, &config, (&consumer, looks)).await?;
    let blind = |side: &Side, flows: bool| flows && !side.source.capabilities().deletes;
    if blind(&source, config.source_to_target) || blind(&target, config.target_to_source) {
        let text = "deletes are not seen by polling: they do not reach the other side";
        warnings.push(
            Problem::warning("capture.no_deletes", &config.at, text)
                .suggest("\"change_detection\": \"database_triggers\" sees them"),
        );
    }
    let pipeline = Pipeline {
        binding: Arc::new(binding),
        targets: Ends { source: source.target, target: target.target },
        state,
        catalogue,
        consumer,
        watch: Arc::default(),
        rollout,
        writers: Arc::new(Semaphore::new(config.parallelism)),
    };
    let sources = Ends { source: source.source, target: target.source };
    let indexes = missing.into_iter().filter_map(|problem| problem.suggestion).collect();
    Ok(OpenPair { config, pipeline, sources, schemas, warnings, creates, indexes })
}

async fn rollout(
    (connectors, target_is_there): (&Ends<Arc<dyn Connector>>, bool),
    schemas: &Ends<Schema>,
    binding: &Binding,
    config: &PairConfig,
    (consumer, looks): (&str, bool),
) -> Result<Rollout, SyncError> {
    let mut rollout = Rollout { percentage: config.rollout.percentage, scopes: Ends::default() };
    for end in [End::Source, End::Target] {
        if let Some(filter) = config.rollout.filter.get(end) {
            let config = filtered(config, end, filter);
            let side = if end == End::Target && !target_is_there {
                absent::side()
            } else {
                open_side(connectors, schemas, binding, &config, (end, consumer, looks)).await?
            };
            *rollout.scopes.get_mut(end) = Some(side.target);
        }
    }
    Ok(rollout)
}

/// The pair with another row filter at `end`.
fn filtered(config: &PairConfig, end: End, filter: &str) -> PairConfig {
    let mut config = config.clone();
    let endpoint = match end {
        End::Source => &mut config.source,
        End::Target => &mut config.target,
    };
    endpoint.filter = Some(filter.to_owned());
    config
}

/// One side of an open pair as another row filter lets it through.
///
/// # Errors
/// Where the side cannot be reached, or the filter is no condition there.
pub async fn scope(
    config: &PairConfig,
    schemas: &Ends<Schema>,
    pipeline: &Pipeline,
    (end, filter): (End, &str),
) -> Result<Arc<dyn Target>, OpenError> {
    let config = filtered(config, end, filter);
    let (binding, consumer) = (&pipeline.binding, &pipeline.consumer);
    Ok(open_side(&connectors(&config)?, schemas, binding, &config, (end, consumer, true)).await?.target)
}

async fn open_side(
    connectors: &Ends<Arc<dyn Connector>>,
    schemas: &Ends<Schema>,
    binding: &Binding,
    config: &PairConfig,
    (end, consumer, looks): (End, &str, bool),
) -> Result<Side, SyncError> {
    let endpoint = endpoint(config, end);
    // A side whose changes nobody asks for needs no column to be polled by; triggers are made only by who asks.
    let polls_in_vain = config.capture == CaptureMethod::Polling && !binding.flows.get(end);
    let options = OpenOptions {
        fields: binding.layouts.get(end).iter().map(|name| name.to_string()).collect(),
        correlation: binding.correlation.get(end).clone(),
        consumer: consumer.to_owned(),
        capture: if polls_in_vain { CaptureMethod::DatabaseTriggers } else { config.capture },
        updated_at: endpoint.updated_at.clone(),
        looks,
        // Whether a filter lets a record through only the system knows.
        images: endpoint.filter.is_none() && config.rollout.filter.get(end).is_none(),
        overlap: POLLING_OVERLAP,
    };
    connectors.get(end).open(endpoint, schemas.get(end), options).await
}

/// Whether both sides order these kinds alike natively.
pub fn same_order(a: Kind, b: Kind) -> bool {
    let numeric = |kind| matches!(kind, Kind::Int | Kind::Decimal);
    a == b || (numeric(a) && numeric(b))
}
