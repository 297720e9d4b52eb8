//! What became of a record and why: its link, and every write and conflict within retention, newest first. Reads the state store alone.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::reviews::{self, fields, time};
use crate::change::{End, Ends};
use crate::config::{FieldMapping, Mappings, PairConfig};
use crate::error::Result;
use crate::record::Key;
use crate::state::{Link, Past, RecordedConflict, StateStore, WriteOp, Written, WrittenBatch};
use crate::value::{Kind, Value};

/// Keys that a text may stand for at most: a composite key multiplies the kinds of its parts.
const CANDIDATES_MAX: usize = 4_096;

/// What somebody wants to know.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Name of the pair.
    pub pair: String,
    /// The record's key as text; a composite one as a JSON array.
    pub key: String,
    /// Whose key it is; `None`: either side's.
    pub side: Option<End>,
    /// Only what is about this field, by its name on either side.
    pub field: Option<String>,
}

/// The answer, or `None` where nothing is known of such a record.
///
/// # Errors
/// Where the state store cannot be read.
pub async fn explain(
    (state, past): (&dyn StateStore, &dyn Past),
    question: &Question,
    config: Option<&PairConfig>,
) -> Result<Option<Json>> {
    let pair = question.pair.as_str();
    let candidates = candidates(&question.key);
    let link = linked(state, question, &candidates).await?;
    let keys = wanted(question, link.as_ref(), &candidates);
    let batches = past.writes(pair, &keys).await?;
    let conflicts = past.conflicts(pair, &keys).await?;
    let reviews = past.reviews_about(pair, &keys).await?;
    if link.is_none() && batches.is_empty() && conflicts.is_empty() && reviews.is_empty() {
        return Ok(None);
    }
    let names = names(question.field.as_deref(), config);
    let mut history: Vec<(i64, Json)> = Vec::new();
    for batch in &batches {
        // Newest first, within a batch too.
        history.extend(
            batch
                .writes
                .iter()
                .rev()
                .filter(|write| shows(write, &names))
                .map(|write| (batch.at, written(batch, write))),
        );
    }
    let about = |one: &&RecordedConflict| {
        let field = one.conflict.field.as_ref();
        names.is_empty() || field.is_none_or(|field| names.contains(field))
    };
    history.extend(conflicts.iter().filter(about).map(|one| (one.conflict.at, conflict(one))));
    history.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut open = Vec::new();
    for id in reviews {
        if let Some(review) = state.review(id).await? {
            open.push(reviews::details(&review, &state.decided(id).await?));
        }
    }
    let agreed = link.as_ref().and_then(|link| link.base.as_ref());
    Ok(Some(json!({
        "pair": pair, "field": question.field, "link": link.as_ref().map(keys_of),
        "deleted": link.as_ref().is_some_and(|link| link.base.is_none()),
        "agreed": agreed.map(|base| json!({"source": fields(&base.source), "target": fields(&base.target)})),
        "functions": config.map(|config| functions(config, &names)),
        "reviews": open, "history": history.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
    })))
}

/// The link of the record, where it has one.
async fn linked(state: &dyn StateStore, question: &Question, candidates: &[Key]) -> Result<Option<Link>> {
    for end in [End::Source, End::Target] {
        if question.side.is_none_or(|side| side == end) {
            let links = state.links(&question.pair, end, candidates).await?;
            if let Some(link) = links.into_iter().flatten().next() {
                return Ok(Some(link));
            }
        }
    }
    Ok(None)
}

/// Encoded keys that are looked for: the link's, else all that the text may stand for.
fn wanted(question: &Question, link: Option<&Link>, candidates: &[Key]) -> Ends<HashSet<Vec<u8>>> {
    if let Some(link) = link {
        return Ends::from_fn(|end| HashSet::from([link.keys.get(end).encode()]));
    }
    let all =
        |end| candidates.iter().filter(|_| question.side.is_none_or(|side| side == end)).map(Key::encode).collect();
    Ends::from_fn(all)
}

/// Every key that a text may stand for: the state store does not know the kinds of keys that it has never seen.
pub fn candidates(text: &str) -> Vec<Key> {
    const KINDS: [Kind; 9] = [
        Kind::Int,
        Kind::Text,
        Kind::Uuid,
        Kind::Decimal,
        Kind::Boolean,
        Kind::Date,
        Kind::Instant,
        Kind::Local,
        Kind::Time,
    ];
    let parts = match serde_json::from_str(text) {
        Ok(Json::Array(parts)) if !parts.is_empty() => parts.iter().map(part_text).collect(),
        Ok(_) | Err(_) => vec![text.to_owned()],
    };
    let mut keys = vec![Vec::new()];
    for part in parts {
        let mut values: Vec<Value> = Vec::new();
        for value in KINDS.iter().filter_map(|kind| Value::Text(part.clone()).convert(*kind).ok()) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        let longer = |key: &Vec<Value>| {
            let key = key.clone();
            values.clone().into_iter().map(move |value| [key.clone(), vec![value]].concat())
        };
        keys = keys.iter().flat_map(longer).take(CANDIDATES_MAX).collect();
    }
    keys.into_iter().map(Key).collect()
}

fn part_text(part: &Json) -> String {
    part.as_str().map_or_else(|| part.to_string(), str::to_owned)
}

fn keys_of(link: &Link) -> Json {
    json!({"source": link.keys.source.to_string(), "target": link.keys.target.to_string()})
}

/// Names of a field on both sides: the one that was said, and with a configuration the other side's. Empty: every field is meant.
fn names(field: Option<&str>, config: Option<&PairConfig>) -> Vec<String> {
    let Some(field) = field else { return Vec::new() };
    let mut names = vec![field.to_owned()];
    for mapping in
        config.into_iter().flat_map(listed).filter(|mapping| mapping.source == field || mapping.target == field)
    {
        names.extend([mapping.source.clone(), mapping.target.clone()]);
    }
    names
}

fn listed(config: &PairConfig) -> &[FieldMapping] {
    match &config.mappings {
        Mappings::Listed(listed) => listed,
        Mappings::SameNames { .. } => &[],
    }
}

/// Whether a write is about one of the fields: creates and deletes are about all of them.
fn shows(write: &Written, names: &[String]) -> bool {
    names.is_empty() || write.op != WriteOp::Update || write.fields.iter().any(|field| names.contains(field))
}

fn written(batch: &WrittenBatch, write: &Written) -> Json {
    let key = |key: &Option<Vec<u8>>| key.as_deref().and_then(|key| Key::decode(key).ok()).map(|key| key.to_string());
    json!({
        "what": "write", "at": time(batch.at), "side": write.end, "op": write.op, "source_key": key(&write.keys.source),
        "target_key": key(&write.keys.target), "fields": write.fields, "plugins": batch.plugins,
        "from": {"side": batch.end, "position": batch.position, "changed_at": write.changed_at.map(time)},
    })
}

fn conflict(one: &RecordedConflict) -> Json {
    let conflict = &one.conflict;
    let value = |value: &Option<Value>| value.as_ref().map(Value::to_json);
    json!({
        "what": "conflict", "at": time(conflict.at), "kind": conflict.kind.name(), "field": conflict.field, "base": value(&conflict.base),
        "source": value(&conflict.values.source), "target": value(&conflict.values.target), "winner": conflict.winner.name(),
        "rule": conflict.rule, "settled": one.settled,
        "resolver": conflict.resolver.as_ref().map(|of| json!({"name": of.name, "digest": of.digest, "reason": of.reason})),
    })
}

/// What shapes each field (or those of these names) as the configuration is now.
fn functions(config: &PairConfig, names: &[String]) -> Json {
    let meant = |name: &String| names.is_empty() || names.contains(name);
    let calls = |calls: &[crate::config::TransformCall]| calls.iter().map(|call| call.name.clone()).collect::<Vec<_>>();
    let mappings = listed(config).iter().filter(|mapping| meant(&mapping.source) || meant(&mapping.target));
    let fields = mappings.map(|mapping| {
        let entry = json!({"source_to_target": calls(&mapping.forward), "target_to_source": mapping.reverse.as_deref().map(calls)});
        (format!("{} → {}", mapping.source, mapping.target), entry)
    });
    fields.collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_for_keys_of_every_kind_that_it_fits() {
        let one = candidates("42");
        assert!(
            one.contains(&Key(vec![Value::Int(42)])) && one.contains(&Key(vec![Value::Text("42".into())])),
            "{one:?}"
        );
        assert_eq!(candidates("abc"), [Key(vec![Value::Text("abc".into())])]);
        let two = candidates("[1, \"x\"]");
        assert!(two.contains(&Key(vec![Value::Int(1), Value::Text("x".into())])), "{two:?}");
        assert!(two.iter().all(|key| key.0.len() == 2));
    }

    #[test]
    fn a_long_key_has_bounded_candidates() {
        let text = format!("[{}]", ["1"; 30].join(","));
        assert!(candidates(&text).len() <= CANDIDATES_MAX);
    }
}
