//! The exact JSON of the configuration (layer 2): a serde mirror without logic. Its doc comments are the schema's descriptions.
//!
//! Nothing downstream of `resolve` sees these types. `structure` checks a file against their schema first, so that every
//! unknown key and wrong type is reported, and puts the place of each object into its `$at`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

mod endpoint;
mod field_mappings;
mod record_transforms;
mod rules;
mod schema_drift;
mod settings;
mod sync_settings;

pub(crate) use endpoint::{Credentials, Endpoint, System};
pub(crate) use field_mappings::{
    Direction, FieldMapping, FieldSelection, HandleNulls, MappingOptions, OnMappingError, TimestampFormat, Transform,
    Transformation,
};
pub(crate) use record_transforms::{From, RecordTransform};
pub(crate) use rules::{
    Bound, ConflictObject, ConflictResolution, ConflictStrategy, DeleteGuard, Deletes, FieldRule, Filter, FilterExit,
    Key, Names, OnValidationError, PlainDeletes, Rollout, RolloutMode, ValidationRule,
};
pub(crate) use schema_drift::{DriftPolicy, SchemaDrift};
pub(crate) use settings::{
    Channel, ErrorHandling, LogLevel, LoopPrevention, Metric, Monitoring, Notification, Plugins, Server, State,
    Threshold,
};
pub(crate) use sync_settings::{ChangeDetection, OngoingMode, PerformanceSettings, SyncSettings, SyncType};

/// Where an object stands: which file, which node of it. Set by `structure`, never written by a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) node: u32,
}

impl Place {
    /// The form in which a place travels through JSON.
    pub(crate) fn number(self) -> u64 {
        (u64::from(self.file) << 32) | u64::from(self.node)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let part = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
        Ok(Self { file: part(number >> 32), node: part(number) })
    }
}

/// A configuration file of tidelock: one sync, a service of several syncs, or a hub with its connected systems.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Address of this schema, for editors.
    #[serde(rename = "$schema")]
    pub(crate) _schema: Option<String>,
    /// Files or globs (`*`, `?`, `**`) of more syncs, relative to this file's folder.
    pub(crate) include: Option<Vec<String>>,
    /// Where links, bases, positions and reviews are kept.
    pub(crate) state: Option<State>,
    /// Plugin folder and what a plugin may use up.
    pub(crate) plugins: Option<Plugins>,
    /// The HTTP server.
    pub(crate) server: Option<Server>,
    /// The syncs of a service. The other keys of a sync may stand beside it: they hold for each sync that does not say otherwise.
    pub(crate) syncs: Option<Vec<Sync>>,
    /// The systems of a hub and spoke configuration, by name.
    pub(crate) systems: Option<BTreeMap<String, System>>,
    /// Name of the system in `systems` that is the hub.
    pub(crate) sync_hub: Option<String>,
    /// The systems connected to the hub.
    pub(crate) connected_systems: Option<Vec<ConnectedSystem>>,
    /// Name of the sync; default: the file's name.
    #[schemars(length(min = 1))]
    pub(crate) connection_name: Option<String>,
    /// The source.
    pub(crate) source: Option<Endpoint>,
    /// The target.
    pub(crate) target: Option<Endpoint>,
    #[serde(flatten)]
    pub(crate) keys: SyncKeys,
}

/// One sync of a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sync {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Name of the sync; default: the file's name and the sync's number.
    pub(crate) connection_name: Option<String>,
    /// The source.
    pub(crate) source: Option<Endpoint>,
    /// The target.
    pub(crate) target: Option<Endpoint>,
    #[serde(flatten)]
    pub(crate) keys: SyncKeys,
}

/// A system connected to the hub. The other keys of a sync may stand here too: they hold for each of its objects.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectedSystem {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Name of the system in `systems`.
    #[schemars(length(min = 1))]
    pub(crate) system: String,
    /// The objects (or tables) to keep in step with the hub; default: those of `mappings`.
    pub(crate) objects: Option<Vec<String>>,
    /// What each object is in the hub.
    pub(crate) mappings: Option<BTreeMap<String, ObjectMapping>>,
    #[serde(flatten)]
    pub(crate) keys: SyncKeys,
}

/// One object of a connected system. The other keys of a sync may stand here too.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectMapping {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// The hub's table; default: the object's own name.
    #[schemars(length(min = 1))]
    pub(crate) hub: Option<String>,
    /// Name of the pair; default: `SYSTEM.OBJECT`.
    pub(crate) connection_name: Option<String>,
    #[serde(flatten)]
    pub(crate) keys: SyncKeys,
}

/// The keys of a sync that may be said once for several syncs: at the top, at the system, at the mapping; the nearest wins.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SyncKeys {
    /// `one_way` (default) or `bidirectional`.
    pub(crate) sync_type: Option<SyncType>,
    /// Changes of the source reach the target. Must agree with `sync_type`.
    pub(crate) source_to_target: Option<bool>,
    /// Changes of the target reach the source. Must agree with `sync_type`.
    pub(crate) target_to_source: Option<bool>,
    /// The fields whose equal values mean the same thing; default: the source's primary key and the fields it maps to.
    pub(crate) key: Option<Key>,
    /// Fields (the source's names) by which records are matched in the first sync, when keys are not shared.
    pub(crate) match_on: Option<Vec<String>>,
    /// Whether the target's table is made where it is not there (default false).
    pub(crate) create_target: Option<bool>,
    /// What is done when columns are added, dropped, renamed or get another type.
    pub(crate) schema_drift: Option<SchemaDrift>,
    /// Row filter per side, in the system's own language.
    pub(crate) filter: Option<Filter>,
    /// Which records take part so far, and whether anything is written at all.
    pub(crate) rollout: Option<Rollout>,
    /// Which fields are kept in step, and how their values are changed on the way; default: every field of the same name.
    pub(crate) field_mappings: Option<Vec<FieldMapping>>,
    /// Functions that make fields of one side from several of the other.
    pub(crate) record_transforms: Option<Vec<RecordTransform>>,
    /// How nulls and times are mapped.
    pub(crate) mapping_options: Option<MappingOptions>,
    /// `explicit`: only `include_fields` and mapped fields; `all` (default).
    pub(crate) field_selection: Option<FieldSelection>,
    /// The source's fields that are kept in step.
    pub(crate) include_fields: Option<Vec<String>>,
    /// The source's fields that are left out.
    pub(crate) exclude_fields: Option<Vec<String>>,
    /// How conflicts are settled.
    pub(crate) conflict_resolution: Option<ConflictResolution>,
    /// Sync type, first sync, ongoing sync.
    pub(crate) sync_settings: Option<SyncSettings>,
    /// What values must look like before they are written.
    pub(crate) validation_rules: Option<Vec<ValidationRule>>,
    /// What becomes of deletes.
    pub(crate) deletes: Option<Deletes>,
    /// More deletes than this at once: pause and ask.
    pub(crate) delete_guard: Option<DeleteGuard>,
    /// Retries, notifications, fallback.
    pub(crate) error_handling: Option<ErrorHandling>,
    /// Batches, parallelism, how changes are found.
    pub(crate) performance_settings: Option<PerformanceSettings>,
    /// When a record that is updated again and again is stopped.
    pub(crate) loop_prevention: Option<LoopPrevention>,
    /// Metrics, alerts, logs.
    pub(crate) monitoring: Option<Monitoring>,
}
