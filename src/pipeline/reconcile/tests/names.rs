//! The same for computed fields: `full` on the source's side is `first` and `last` on the target's.

use super::super::group_agrees;
use super::*;
use crate::pipeline::binding::{Computed, Group};

/// `binding` with `full` there and `first` and `last` here, made of each other.
pub(crate) fn with_names(rule: Rule) -> Binding {
    let mut binding = binding(rule);
    binding.layouts =
        Ends { source: layout(["id", "a", "b", "full"]), target: layout(["id", "a", "b", "first", "last"]) };
    let of = |name: &str, position| BoundField { name: name.to_owned(), position, kind: Kind::Text };
    let sides = Ends { source: vec![of("full", 3)], target: vec![of("first", 3), of("last", 4)] };
    let computed = |from: End, name: &str| Computed {
        from,
        function: FunctionRef { name: name.to_owned(), params: "{}".to_owned() },
        inputs: sides.get(from).clone(),
        reads_all: false,
        outputs: sides.get(from.other()).clone(),
        first: 3,
    };
    binding.computed = vec![computed(End::Source, "split"), computed(End::Target, "join")];
    binding.groups = vec![Group { members: Ends { source: vec![0], target: vec![1] }, rule }];
    binding
}

/// First and last name of a full one.
pub(crate) fn split(full: &Value) -> [Value; 2] {
    match full.to_text().as_deref().and_then(|full| full.split_once(' ')) {
        Some((first, last)) => [first, last].map(|name| Value::Text(name.to_owned())),
        None => [Value::Null, full.clone()],
    }
}

/// The full name of both.
pub(crate) fn join(first: &Value, last: &Value) -> Value {
    match (first.to_text(), last.to_text()) {
        (Some(first), Some(last)) => Value::Text(format!("{first} {last}")),
        (first, last) => first.or(last).map_or(Value::Null, Value::Text),
    }
}

fn of_side(end: End, a: &str, name: &str) -> Record {
    let full = if name.is_empty() { Value::Null } else { Value::Text(name.to_owned()) };
    let plain = [("id", Value::Int(1)), ("a", Value::Text(a.to_owned())), ("b", Value::Null)];
    match end {
        End::Source => Record::of(plain.into_iter().chain([("full", full)])),
        End::Target => {
            let [first, last] = split(&full);
            Record::of(plain.into_iter().chain([("first", first), ("last", last)]))
        }
    }
}

fn name_of(end: End, record: &Record) -> Value {
    let value = |name: &str| record.get(name).cloned().unwrap_or(Value::Null);
    match end {
        End::Source => value("full"),
        End::Target => join(&value("first"), &value("last")),
    }
}

fn cells_of(end: End, record: &Record) -> Mapped {
    let plain = record.values().iter().take(3).cloned().map(Ok);
    let name = name_of(end, record);
    let made = match end {
        End::Source => split(&name).to_vec(),
        End::Target => vec![name],
    };
    plain.chain(made.into_iter().map(|value| Ok(Some(value)))).collect()
}

fn settle(binding: &Binding, base: Option<&Ends<Record>>, now: &Ends<Record>, late: End) -> Decision {
    let mapped = Ends::from_fn(|end| cells_of(end, now.get(end)));
    let images = Images {
        now: Ends { source: Some(&now.source), target: Some(&now.target) },
        base,
        mapped: Ends { source: Some(&mapped.source), target: Some(&mapped.target) },
        times: later(late),
        answers: &[],
        ruled: None,
        gone: None,
        at: 0,
    };
    reconcile(binding, &images)
}

fn carried_out(now: &Ends<Record>, decision: &Decision) -> Ends<Record> {
    Ends::from_fn(|end| match decision.writes.get(end) {
        Some(Intent::Update(fields)) => {
            let mut new = now.get(end).clone();
            fields.iter().for_each(|(name, value)| new.set(name, value.clone()));
            new
        }
        Some(Intent::Create(_) | Intent::Delete) => panic!("both records exist"),
        None => now.get(end).clone(),
    })
}

#[test]
fn a_group_that_reads_everything_minds_only_what_changes_its_outcome() {
    let mut binding = with_names(Rule::LATER);
    binding.computed[0].reads_all = true;
    binding.computed[0].inputs.push(BoundField { name: "a".to_owned(), position: 1, kind: Kind::Text });
    let pair = |source, target| Ends { source, target };
    let base = pair(of_side(End::Source, "x", "p q"), of_side(End::Target, "x", "p q"));
    let now = pair(of_side(End::Source, "x2", "p q"), of_side(End::Target, "x", "p s"));
    let decision = settle(&binding, Some(&base), &now, End::Source);
    assert_eq!(decision.contests, [], "`a` says nothing about names");
    let after = carried_out(&now, &decision);
    assert_eq!(after, pair(of_side(End::Source, "x2", "p s"), of_side(End::Target, "x2", "p s")));
}

#[test]
fn a_computed_edit_against_a_delete_is_a_contest_about_the_record() {
    let binding = with_names(Rule::LATER);
    let base = Ends::from_fn(|end| of_side(end, "x", "p q"));
    let edited = of_side(End::Target, "x", "p s");
    let mapped = cells_of(End::Target, &edited);
    for (late, winner) in [(End::Target, Winner::Target), (End::Source, Winner::Source)] {
        let images = Images {
            now: Ends { source: None, target: Some(&edited) },
            base: Some(&base),
            mapped: Ends { source: None, target: Some(&mapped) },
            times: later(late),
            answers: &[],
            ruled: None,
            gone: None,
            at: 0,
        };
        let decision = reconcile(&binding, &images);
        assert_eq!(decision.contests, [Contest { subject: Subject::Record, winner, rule: Rule::LATER }]);
        match late {
            End::Target => {
                let Some(Intent::Create(record)) = &decision.writes.source else { panic!("{decision:?}") };
                assert_eq!(name_of(End::Source, record), Value::Text("p s".to_owned()));
            }
            End::Source => assert_eq!(decision.writes.target, Some(Intent::Delete)),
        }
    }
}

#[test]
fn what_a_group_leaves_absent_is_no_conflict() {
    let binding = with_names(Rule::LATER);
    let base = Ends::from_fn(|end| of_side(end, "x", "p q"));
    let now = Ends { source: of_side(End::Source, "x", "r s"), target: of_side(End::Target, "x", "p s") };
    let mut mapped = Ends::from_fn(|end| cells_of(end, now.get(end)));
    mapped.source[3..].iter_mut().for_each(|cell| *cell = Ok(None));
    assert!(!mapped.source[3..].is_empty());
    let images = |times| Images {
        now: Ends { source: Some(&now.source), target: Some(&now.target) },
        base: Some(&base),
        mapped: Ends { source: Some(&mapped.source), target: Some(&mapped.target) },
        times,
        answers: &[],
        ruled: None,
        gone: None,
        at: 0,
    };
    let decision = reconcile(&binding, &images(later(End::Source)));
    assert_eq!((decision.contests, decision.writes), (vec![], Ends::default()));
    // Without times the source wins; whether that is so has to be asked all the same.
    assert!(reconcile(&binding, &images(Times::default())).depends_on_times());
    assert_eq!(reconcile(&binding, &images(later(End::Target))).contests.len(), 1);
}

fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "p q", "p s", "r q", "r s"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// An echo is nothing to do; what one side changed flows; what both changed differently is exactly one contest, which costs the
    /// loser its edit and nobody else (I6); then both sides are equal, and nothing is written at rest (I5).
    #[test]
    fn names_flow_or_are_contested_once(
        base in prop::option::of((names(), "[xy]")), source in (names(), "[xy]"), target in (names(), "[xy]"),
        rule in rules(), late in any::<bool>(),
    ) {
        let binding = with_names(rule);
        let base = base.map(|(name, a)| Ends::from_fn(|end| of_side(end, &a, name)));
        let now = Ends { source: of_side(End::Source, &source.1, source.0), target: of_side(End::Target, &target.1, target.0) };
        let late = if late { End::Target } else { End::Source };
        let decision = settle(&binding, base.as_ref(), &now, late);
        let old = Ends::from_fn(|end| name_of(end, now.get(end)));
        let edited = Ends::from_fn(|end| base.as_ref().map_or(!old.get(end).is_null(), |base| name_of(end, base.get(end)) != *old.get(end)));
        let contests: Vec<&Contest> = decision.contests.iter().filter(|contest| contest.subject == Subject::Group(0)).collect();
        let after = carried_out(&now, &decision);
        let new = Ends::from_fn(|end| name_of(end, after.get(end)));
        prop_assert_eq!(&new.source, &new.target);
        prop_assert_eq!(after.source.get("a"), after.target.get("a"));
        let expected = match (edited.source, edited.target) {
            (true, true) if old.source != old.target => {
                let winner = match rule { Rule::Prefer(end) => end, Rule::LastWriteWins(_) | Rule::Plugin(_) | Rule::Manual => late };
                prop_assert_eq!(contests, [&Contest { subject: Subject::Group(0), winner: winner.into(), rule }]);
                old.get(winner)
            }
            (source_edited, _) => {
                prop_assert_eq!(contests, Vec::<&Contest>::new());
                if source_edited { &old.source } else { &old.target }
            }
        };
        prop_assert_eq!(&new.source, expected);
        let cells = Ends::from_fn(|end| cells_of(end, after.get(end)));
        prop_assert!(group_agrees(&binding, &binding.groups[0], End::Source, &cells.source, &after.target));
        prop_assert_eq!(settle(&binding, Some(&after), &after, late), Decision::default());
    }
}
