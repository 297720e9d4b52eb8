//! Table tests and properties of the decision.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::OnError;
use crate::plugin::FunctionRef;
use crate::record::layout;
use crate::value::Kind;

pub(crate) mod names;

/// Two text fields `a` and `b` beside the key `id`, all both ways, no functions.
pub(crate) fn binding(rule: Rule) -> Binding {
    let names = ["id", "a", "b"];
    let mapping = |(position, name): (usize, &&str)| {
        let kind = if *name == "id" { Kind::Int } else { Kind::Text };
        let of = || BoundField { name: (*name).to_owned(), position, kind };
        BoundMapping {
            fields: Ends { source: of(), target: of() },
            functions: Ends::from_fn(|_| Some(Vec::<FunctionRef>::new())),
            on_error: OnError::RejectRecord,
            default: None,
            value_map: Vec::new(),
            correlation: *name == "id",
            generated: false,
            lookup: None,
        }
    };
    let mappings: Vec<_> = names.iter().enumerate().map(mapping).collect();
    Binding {
        pair: Arc::from("pair"),
        systems: Ends { source: Arc::from("crm"), target: Arc::from("erp") },
        rules: vec![rule; mappings.len()],
        mappings,
        layouts: Ends::from_fn(|_| layout(names)),
        keys: Ends::from_fn(|_| vec![0]),
        correlation: Ends::from_fn(|_| vec!["id".to_owned()]),
        match_on: Vec::new(),
        timestamp: Ends::default(),
        flows: Ends { source: true, target: true },
        upsert_only: false,
        looked_up: false,
        apart: true,
        default_rule: rule,
        skew_window: Duration::ZERO,
        deletes: Deletes::Propagate,
        marks: Ends::default(),
        delete_guard: None,
        loop_prevention: None,
        filtered: Ends::default(),
        nulls: Nulls::Preserve,
        renewed: false,
        resolvers: Vec::new(),
        computed: Vec::new(),
        groups: Vec::new(),
        checks: Vec::new(),
    }
}

fn record(a: &str, b: &str) -> Record {
    let text = |value: &str| if value.is_empty() { Value::Null } else { Value::Text(value.to_owned()) };
    Record::of([("id", Value::Int(1)), ("a", text(a)), ("b", text(b))])
}

/// An update of one field.
fn sets(name: &str, value: &str) -> Option<Intent> {
    let mut fields = Record::empty(layout(["id", "a", "b"]));
    fields.set(name, Value::Text(value.to_owned()));
    Some(Intent::Update(fields))
}

fn cells(record: &Record) -> Mapped {
    record.values().iter().cloned().map(Ok).collect()
}

/// Decides with every image put in the other side's terms (which, without functions, is the image itself).
fn decide(
    binding: &Binding,
    base: Option<&Ends<Record>>,
    source: Option<&Record>,
    target: Option<&Record>,
    times: Times,
) -> Decision {
    let mapped = Ends { source: source.map(cells), target: target.map(cells) };
    let images = Images {
        now: Ends { source, target },
        base,
        mapped: Ends { source: mapped.source.as_ref(), target: mapped.target.as_ref() },
        times,
        answers: &[],
        ruled: None,
        gone: None,
        at: 0,
    };
    reconcile(binding, &images)
}

fn both(record: &Record) -> Ends<Record> {
    Ends { source: record.clone(), target: record.clone() }
}

fn later(end: End) -> Times {
    match end {
        End::Source => Times { source: Some(2), target: Some(1) },
        End::Target => Times { source: Some(1), target: Some(2) },
    }
}

#[test]
fn an_echo_is_nothing_to_do() {
    let same = record("x", "y");
    let decision = decide(&binding(Rule::LATER), Some(&both(&same)), Some(&same), Some(&same), Times::default());
    assert_eq!(decision, Decision::default());
}

#[test]
fn changes_of_different_fields_merge_without_conflict() {
    let base = both(&record("x", "y"));
    let decision = decide(
        &binding(Rule::LATER),
        Some(&base),
        Some(&record("x2", "y")),
        Some(&record("x", "y2")),
        Times::default(),
    );
    assert_eq!(decision.contests, []);
    assert_eq!(decision.writes.target, sets("a", "x2"));
    assert_eq!(decision.writes.source, sets("b", "y2"));
}

/// A mapping that was added later: what is in its fields was never compared, so neither side's value is news that may overwrite the
/// other's.
#[test]
fn a_field_that_was_never_agreed_is_first_contact() {
    let known = Ends::from_fn(|_| Record::of([("id", Value::Int(1)), ("a", Value::Text("x".into()))]));
    let half = Ends { source: record("x", "y"), target: known.target.clone() };
    for base in [known, half] {
        let decide = |source: &str, target: &str| {
            let (source, target) = (record("x", source), record("x", target));
            decide(&binding(Rule::Prefer(End::Source)), Some(&base), Some(&source), Some(&target), Times::default())
        };
        assert_eq!(decide("y", "y"), Decision::default());
        assert_eq!(
            (decide("y", "").writes, decide("y", "").contests),
            (Ends { source: None, target: sets("b", "y") }, vec![])
        );
        assert_eq!(
            (decide("", "z").writes, decide("", "z").contests),
            (Ends { source: sets("b", "z"), target: None }, vec![])
        );
        let both = decide("y", "z");
        assert_eq!((both.writes.target, both.contests.len()), (sets("b", "y"), 1));
        let deleted = record("x", "z");
        let rule = binding(Rule::Prefer(End::Target));
        let decision = super::reconcile(
            &rule,
            &Images {
                now: Ends { source: None, target: Some(&deleted) },
                base: Some(&base),
                mapped: Ends::default(),
                times: Times::default(),
                answers: &[],
                ruled: None,
                gone: None,
                at: 0,
            },
        );
        assert_eq!(
            (decision.writes.target, decision.contests),
            (Some(Intent::Delete), vec![]),
            "no edit that outlives a delete"
        );
        let images = Ends::from_fn(|_| record("x", "y"));
        let now = Ends { source: Some(&images.source), target: Some(&images.target) };
        assert_eq!(needs(&binding(Rule::LATER), now, Some(&base)), Ends { source: true, target: true });
    }
}

#[test]
fn what_another_mapping_makes_of_unedited_records_flows_once() {
    let base = Ends { source: record("x", "y"), target: record("X", "y") };
    let (source, target) = (base.source.clone(), base.target.clone());
    let mut binding = binding(Rule::LATER);
    let decide = |binding: &Binding| decide(binding, Some(&base), Some(&source), Some(&target), Times::default());
    assert_eq!(decide(&binding), Decision::default());
    binding.renewed = true;
    assert_eq!(decide(&binding).writes, Ends { source: None, target: sets("a", "x") });
    for mapping in &mut binding.mappings {
        mapping.functions.source = None;
    }
    let back = decide(&binding);
    assert_eq!((back.writes, back.contests), (Ends { source: sets("a", "X"), target: None }, vec![]));
}

#[test]
fn the_same_field_changed_on_both_sides_is_settled_by_time_or_system() {
    let base = both(&record("x", "y"));
    let (ours, theirs) = (record("s", "y"), record("t", "y"));
    for (rule, times, winner) in [
        (Rule::LATER, later(End::Source), End::Source),
        (Rule::LATER, later(End::Target), End::Target),
        (Rule::Prefer(End::Target), later(End::Source), End::Target),
        (Rule::Prefer(End::Source), later(End::Target), End::Source),
    ] {
        let decision = decide(&binding(rule), Some(&base), Some(&ours), Some(&theirs), times);
        assert_eq!(decision.contests, [Contest { subject: Subject::Field(1), winner: winner.into(), rule }]);
        let value = if winner == End::Source { "s" } else { "t" };
        let expected = sets("a", value);
        assert_eq!(decision.writes.get(winner.other()), &expected);
        assert_eq!(decision.writes.get(winner), &None);
    }
}

#[test]
fn the_same_change_on_both_sides_is_agreement() {
    let base = both(&record("x", "y"));
    let same = record("z", "y");
    let decision = decide(&binding(Rule::LATER), Some(&base), Some(&same), Some(&same), Times::default());
    assert_eq!(decision, Decision::default());
}

#[test]
fn at_first_contact_a_null_is_filled_and_a_difference_is_a_conflict() {
    let decision =
        decide(&binding(Rule::LATER), None, Some(&record("", "s")), Some(&record("x", "t")), Times::default());
    assert_eq!(decision.writes.source, sets("a", "x"));
    assert_eq!(decision.contests, [Contest { subject: Subject::Field(2), winner: Winner::Source, rule: Rule::LATER }]);
}

#[test]
fn a_delete_travels_unless_the_other_side_was_edited_later() {
    let base = both(&record("x", "y"));
    let same = record("x", "y");
    let rule = Rule::LATER;
    let decision = decide(&binding(rule), Some(&base), None, Some(&same), Times::default());
    assert_eq!(decision.writes.target, Some(Intent::Delete));

    let edited = record("z", "y");
    let decision = decide(&binding(rule), Some(&base), None, Some(&edited), later(End::Target));
    assert_eq!(decision.contests, [Contest { subject: Subject::Record, winner: Winner::Target, rule }]);
    assert!(matches!(decision.writes.source, Some(Intent::Create(_))));

    let decision = decide(&binding(rule), Some(&base), None, Some(&edited), later(End::Source));
    assert_eq!(decision.writes.target, Some(Intent::Delete));
}

#[test]
fn an_ignored_delete_touches_nothing() {
    let base = both(&record("x", "y"));
    let mut binding = binding(Rule::LATER);
    binding.deletes = Deletes::Ignore;
    let decision = decide(&binding, Some(&base), None, Some(&record("z", "y")), Times::default());
    assert_eq!(decision, Decision::default());
}

#[test]
fn a_one_way_pair_never_writes_to_its_source() {
    let mut binding = binding(Rule::LATER);
    binding.flows.target = false;
    for mapping in &mut binding.mappings {
        mapping.functions.target = None;
    }
    let base = both(&record("x", "y"));
    let decision = decide(&binding, Some(&base), Some(&record("s", "y")), Some(&record("t", "y")), later(End::Target));
    assert_eq!(decision.writes.source, None);
    assert_eq!(decision.contests, []);
    assert!(matches!(decision.writes.target, Some(Intent::Update(_))));
    assert_eq!(
        decide(&binding, Some(&base), None, Some(&record("t", "y")), Times::default()).writes.target,
        Some(Intent::Delete)
    );
}

#[test]
fn a_refused_field_stops_the_whole_record() {
    let base = both(&record("x", "y"));
    let (now, target) = (record("x2", "y2"), record("x", "y"));
    let rejection = Box::new(Rejection {
        code: "invalid-phone".into(),
        message: "no".into(),
        field: Some("a".into()),
        digest: None,
        skipped: false,
        waits_for: None,
    });
    let mut mapped = cells(&now);
    mapped[1] = Err(rejection.clone());
    let images = Images {
        now: Ends { source: Some(&now), target: Some(&target) },
        base: Some(&base),
        mapped: Ends { source: Some(&mapped), target: None },
        times: Times::default(),
        answers: &[],
        ruled: None,
        gone: None,
        at: 0,
    };
    let decision = reconcile(&binding(Rule::LATER), &images);
    assert_eq!(decision.writes, Ends::default());
    assert_eq!(decision.rejection, Some((End::Source, rejection)));
}

fn apply(record: Option<&Record>, intent: Option<&Intent>) -> Option<Record> {
    match (record, intent) {
        (_, Some(Intent::Delete)) => None,
        (_, Some(Intent::Create(new))) => Some(self::record("", "")).map(|mut full| {
            new.iter().for_each(|(name, value)| full.set(name, value.clone()));
            full
        }),
        (Some(old), Some(Intent::Update(fields))) => {
            let mut new = old.clone();
            fields.iter().for_each(|(name, value)| new.set(name, value.clone()));
            Some(new)
        }
        (old, _) => old.cloned(),
    }
}

fn images() -> impl Strategy<Value = Option<Record>> {
    let field = || prop::sample::select(vec!["", "p", "q", "r"]);
    prop::option::weighted(0.85, (field(), field()).prop_map(|(a, b)| record(a, b)))
}

fn rules() -> impl Strategy<Value = Rule> {
    prop::sample::select(vec![Rule::LATER, Rule::Prefer(End::Source), Rule::Prefer(End::Target)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// I5: once a decision is carried out both sides are equal, and deciding again does nothing. I6: what is overwritten although it
    /// was edited is on record.
    #[test]
    fn a_decision_converges_and_records_what_it_overwrites(
        base in prop::option::of(images()), source in images(), target in images(), rule in rules(), late in any::<bool>(),
    ) {
        let binding = binding(rule);
        let base = base.flatten().map(|record| both(&record));
        let times = later(if late { End::Target } else { End::Source });
        let decision = decide(&binding, base.as_ref(), source.as_ref(), target.as_ref(), times);
        let new_source = apply(source.as_ref(), decision.writes.source.as_ref());
        let new_target = apply(target.as_ref(), decision.writes.target.as_ref());
        prop_assert_eq!(&new_source, &new_target);
        if let (Some(source), Some(target)) = (&new_source, &new_target) {
            let agreed = Ends { source: source.clone(), target: target.clone() };
            prop_assert_eq!(decide(&binding, Some(&agreed), Some(source), Some(target), times), Decision::default());
        }
        for (old, new, end) in [(&source, &new_source, End::Source), (&target, &new_target, End::Target)] {
            for (index, mapping) in binding.mappings.iter().enumerate() {
                let value = |record: &Option<Record>| record.as_ref().and_then(|record| field(record, mapping.fields.get(end))).cloned();
                let agreed = base.as_ref().and_then(|base| field(base.get(end), mapping.fields.get(end))).cloned();
                let edited = value(old).is_some_and(|value| !value.is_null() && Some(value) != agreed);
                if edited && value(new) != value(old) {
                    let known = decision.contests.iter().any(|contest| [Subject::Record, Subject::Field(index)].contains(&contest.subject));
                    prop_assert!(known, "an edit of {} was overwritten in silence", mapping.fields.get(end).name);
                }
            }
        }
    }
}
