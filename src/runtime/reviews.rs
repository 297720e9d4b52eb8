//! What people see of what waits for them, and how they decide it (layer 7): the same for the command line and for HTTP.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::change::{End, Ends};
use crate::error::Result;
use crate::record::Record;
use crate::state::{Decision, Outcome, Review, ReviewKind, Ruling, StateStore};
use crate::telemetry::clock;
use crate::value::Value;

/// What a person asks for: the body of a request, or the options of a command.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Whose record counts.
    pub take: Option<End>,
    /// Values of the person's own, by the target's names of the fields.
    #[serde(default)]
    pub set: Map<String, Json>,
    /// The version that was looked at; else the one that there is.
    pub version: Option<String>,
    /// Who says so.
    pub actor: Option<String>,
}

/// Keeps the same decision about each of these reviews, to be carried out; their numbers, `None` where the review is gone meanwhile.
///
/// # Errors
/// Where the state store cannot be used.
pub async fn decide(
    state: &dyn StateStore,
    reviews: &[Review],
    (ruling, version): (&Ruling, Option<&str>),
    actor: &str,
) -> Result<Vec<Option<i64>>> {
    let at = clock::now_micros();
    let decision = |review: &Review| Decision {
        id: 0,
        review: review.id,
        version: version.unwrap_or(&review.version).to_owned(),
        ruling: ruling.clone(),
        actor: actor.to_owned(),
        at,
    };
    state.decide(&reviews.iter().map(decision).collect::<Vec<_>>()).await
}

/// A review in short, without any value of the record.
pub fn summary(review: &Review) -> Json {
    let finding = &review.finding;
    json!({
        "id": review.id, "pair": review.pair, "kind": finding.kind, "side": finding.end, "key": finding.key.to_string(),
        "other_key": finding.other.as_ref().map(ToString::to_string), "code": finding.code, "field": finding.field,
        "contested": finding.contested, "message": finding.message, "digest": finding.digest, "version": review.version,
        "since": time(review.at), "seen": time(review.seen), "later": review.later,
    })
}

/// A review whole: both images, what was agreed, and what was decided about it before.
pub fn details(review: &Review, decided: &[(Decision, Option<Outcome>)]) -> Json {
    let (now, base) = (&review.finding.now, &review.finding.base);
    let whole = json!({
        "source": now.source.as_ref().map(fields), "target": now.target.as_ref().map(fields),
        "base": base.as_ref().map(|base| json!({"source": fields(&base.source), "target": fields(&base.target)})),
        "decisions": decided.iter().map(decision).collect::<Vec<_>>(),
    });
    joined(summary(review), whole)
}

/// A decision, and what became of it.
pub fn decision((decision, outcome): &(Decision, Option<Outcome>)) -> Json {
    let Ruling { take, set } = &decision.ruling;
    let json = json!({
        "decision": decision.id, "version": decision.version, "take": take, "set": set, "actor": decision.actor, "at": time(decision.at),
    });
    joined(json, verdict(outcome.as_ref()))
}

/// `verdict` and `message`: null while a decision waits.
pub fn verdict(outcome: Option<&Outcome>) -> Json {
    json!({"verdict": outcome.map(|(verdict, _)| verdict.name()), "message": outcome.map(|(_, message)| message)})
}

/// One object with the keys of both.
pub fn joined(mut first: Json, second: Json) -> Json {
    if let (Json::Object(first), Json::Object(second)) = (&mut first, second) {
        first.extend(second);
    }
    first
}

/// Counts by kind.
pub fn counts(counts: &BTreeMap<ReviewKind, u64>) -> Json {
    counts.iter().map(|(kind, count)| (kind.name().to_owned(), Json::from(*count))).collect::<Map<_, _>>().into()
}

/// The fields of a record, as plugins' examples have them.
pub fn fields(record: &Record) -> Json {
    record.iter().map(|(name, value)| (name.to_owned(), value.to_json())).collect::<Map<_, _>>().into()
}

/// A time as text: RFC 3339, UTC.
pub fn time(micros: i64) -> String {
    Value::Instant(micros).to_text().unwrap_or_default()
}

/// One field of a review's images: what was agreed, what there is, and whether that is an edit.
pub struct Line {
    /// Whose field.
    pub end: End,
    /// Its name there.
    pub name: String,
    /// What was agreed about it, where anything was.
    pub base: Option<Value>,
    /// What it is; `None` where there is no record, or the record does not carry it.
    pub now: Option<Value>,
}

impl Line {
    /// Whether the field was edited since something was agreed about it.
    pub fn is_edited(&self) -> bool {
        self.base.is_some() && self.base != self.now
    }
}

/// Every field of both images, the source's first.
pub fn lines(review: &Review) -> Vec<Line> {
    let base = |end: End| review.finding.base.as_ref().map(|base: &Ends<Record>| base.get(end));
    let of = |end: End| {
        let (now, base) = (review.finding.now.get(end).as_ref(), base(end));
        let names = now.or(base).map(|record| record.layout().iter().map(ToString::to_string).collect::<Vec<_>>());
        names.unwrap_or_default().into_iter().map(move |name| Line {
            end,
            base: base.and_then(|base| base.get(&name)).cloned(),
            now: now.and_then(|now| now.get(&name)).cloned(),
            name,
        })
    };
    of(End::Source).chain(of(End::Target)).collect()
}
