//! Which systems there are, and how the pairs between them are configured: in the real configuration's own words, bound by the real binder.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::plugins;
use super::table::{Stores, Table};
use super::world::Traits;
use crate::change::Ends;
use crate::config::{self, PairConfig};
use crate::connector::Schema;
use crate::pipeline::binding::{Binding, bind};

/// Which systems are kept in step, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One way, by key, without links.
    Copy,
    /// Both ways, the same keys on both sides.
    SharedKeys,
    /// Both ways; each side makes its own keys, the target's records hold the source's.
    OwnKeys,
    /// Two spokes with a hub between them, each with keys of its own.
    Hub,
}

/// Who wins where both sides changed a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    LaterWins,
    SourceWins,
    TargetWins,
    FieldByField,
    Manual,
    /// The later change, or a person where the clocks cannot tell.
    SkewWindow,
}

impl Shape {
    pub(super) const ALL: [Self; 4] = [Self::Copy, Self::SharedKeys, Self::OwnKeys, Self::Hub];

    pub(super) fn tables(self, stores: [Stores; 3]) -> Vec<Table> {
        let [left, right, third] = stores;
        match self {
            Self::Copy | Self::SharedKeys => {
                vec![Table::new("left", &[], false, left), Table::new("right", &[], false, right)]
            }
            Self::OwnKeys => vec![Table::new("left", &[], true, left), Table::new("right", &["left_id"], true, right)],
            Self::Hub => vec![
                Table::new("left", &[], true, left),
                Table::new("right", &[], true, right),
                Table::new("hub", &["left_id", "right_id"], true, third),
            ],
        }
    }

    /// Name, source, target, and the target's column with the source's key.
    fn pairs(self) -> Vec<(&'static str, &'static str, Option<&'static str>, Ends<usize>)> {
        let ends = |source, target| Ends { source, target };
        match self {
            Self::Copy | Self::SharedKeys => vec![("left", "right", None, ends(0, 1))],
            Self::OwnKeys => vec![("left", "right", Some("left_id"), ends(0, 1))],
            Self::Hub => {
                vec![("left", "hub", Some("left_id"), ends(0, 2)), ("right", "hub", Some("right_id"), ends(1, 2))]
            }
        }
    }
}

impl Policy {
    pub(super) const ALL: [Self; 6] =
        [Self::LaterWins, Self::SourceWins, Self::TargetWins, Self::FieldByField, Self::Manual, Self::SkewWindow];

    fn json(self, source: &str, target: &str) -> Value {
        let prefer = |system: &str| json!({"strategy": "system_priority", "priority_system": system});
        match self {
            Self::LaterWins => json!("last_write_wins"),
            Self::SourceWins => prefer(source),
            Self::TargetWins => prefer(target),
            Self::FieldByField => json!({"strategy": "field_level_priority", "field_rules": [
                {"field": "x", "priority_system": source}, {"field": "y", "priority_system": "last_updated"},
                {"field": "z", "priority_system": target}]}),
            Self::Manual => json!("manual"),
            Self::SkewWindow => json!({"strategy": "last_write_wins", "skew_window_ms": 1, "fallback": "manual"}),
        }
    }
}

/// A pair that can be opened.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) config: Arc<PairConfig>,
    pub(super) binding: Binding,
    pub(super) schemas: Ends<Schema>,
    pub(super) traits: Traits,
}

/// The pairs of a shape. Each is bound once for all seeds.
pub(super) fn prepared(shape: Shape, policy: Policy) -> Vec<Prepared> {
    static ALL: OnceLock<Vec<(Shape, Policy, Vec<Prepared>)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let policies = |shape| Policy::ALL.map(|policy| (shape, policy, prepare(shape, policy)));
        Shape::ALL.into_iter().flat_map(policies).collect()
    });
    let is = |one: &&(Shape, Policy, Vec<Prepared>)| one.0 == shape && one.1 == policy;
    all.iter().find(is).map(|(_, _, pairs)| pairs.clone()).unwrap()
}

fn prepare(shape: Shape, policy: Policy) -> Vec<Prepared> {
    let tables = shape.tables([Stores::AsIs; 3]);
    let prepare = |(source, target, correlation, ends): (&str, &str, Option<&str>, Ends<usize>)| {
        let config = configure(shape, policy, (source, target, correlation));
        let schemas = Ends::from_fn(|end| tables[*ends.get(end)].schema());
        let (binding, _) = bind(&config, &schemas, plugins::unused().as_ref(), &[]).unwrap();
        assert_eq!(binding.upsert_only, shape == Shape::Copy);
        let traits = Traits {
            name: Arc::clone(&config.name),
            tables: ends,
            two_way: shape != Shape::Copy,
            correlation: correlation.map(|name| tables[ends.target].place(name)),
            // The other pair's keys in a hub's record are no edits, but move its time.
            later_wins: policy == Policy::LaterWins && shape != Shape::Hub,
        };
        Prepared { config: Arc::new(config), binding, schemas, traits }
    };
    shape.pairs().into_iter().map(prepare).collect()
}

fn configure(shape: Shape, policy: Policy, (source, target, correlation): (&str, &str, Option<&str>)) -> PairConfig {
    let mut mappings = vec![
        json!({"source": "x", "target": "x", "transformation": "tidy"}),
        json!({"source": "y", "target": "y"}),
        json!({"source": "z", "target": "z"}),
    ];
    if correlation.is_none() {
        mappings.push(json!({"source": "id", "target": "id"}));
    }
    let mut text = json!({
        "connection_name": format!("{source}_{target}"),
        "source": {"type": "sqlite", "name": source, "path": "unused.db", "table": source},
        "target": {"type": "sqlite", "name": target, "path": "unused.db", "table": target},
        "sync_type": if shape == Shape::Copy { "one_way" } else { "bidirectional" },
        "field_mappings": mappings,
        "validation_rules": [{"field": "y", "rule": "regex", "pattern": "^[^!]*$", "on_error": "reject_record"}],
    });
    if shape != Shape::Copy {
        text["conflict_resolution"] = policy.json(source, target);
    }
    if let Some(correlation) = correlation {
        text["key"] = json!({"source": "id", "target": correlation});
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.json");
    std::fs::write(&path, text.to_string()).unwrap();
    let registry = config::Registry { system_types: &["sqlite"], planned_system_types: &[] };
    let mut loaded = config::load(&[path], &registry).unwrap();
    let mut pair = loaded.config.pairs.remove(0);
    pair.batch_size = 4;
    pair
}
