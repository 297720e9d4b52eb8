//! What people decide: conflicts left to them, records that were refused, and decisions that come too late.

use serde_json::{Value as Json, json};

use super::counts::short;
use super::world::World;
use crate::change::End;
use crate::config::{Close, Deletes, OnInvalid, Rule};
use crate::pipeline::binding::Binding;
use crate::pipeline::reconcile::tests::binding;
use crate::state::{ReviewKind, Verdict, Winner};

async fn agreed(binding: Binding) -> World {
    let world = World::new(binding);
    world.edit(End::Source, 1, &[("a", "o"), ("b", "o")]);
    world.process(End::Source, &[1]).await;
    world
}

/// `a` was changed on both sides, `b` on the source.
async fn contested() -> World {
    let world = agreed(binding(Rule::Manual)).await;
    world.edit(End::Source, 1, &[("a", "s"), ("b", "s")]);
    world.edit(End::Target, 1, &[("a", "t")]);
    let counts = world.both(End::Source, &[1]).await;
    assert_eq!((counts.written_source, counts.written_target, counts.conflicts), (0, 0, 0), "{counts:?}");
    world
}

fn both(value: &str) -> [String; 2] {
    [value, value].map(Into::into)
}

#[tokio::test]
async fn a_conflict_waits_with_all_that_a_person_must_know() {
    let world = contested().await;
    let [finding] = &world.findings()[..] else { panic!("one review, whichever side is seen first") };
    assert_eq!(
        (finding.kind, &*finding.code, &finding.contested[..]),
        (ReviewKind::Conflict, "conflict.manual", &["a".to_owned()][..])
    );
    let of = |record: &crate::record::Record| record.get("a").and_then(crate::value::Value::to_text).unwrap();
    assert_eq!([&finding.now.source, &finding.now.target].map(|now| of(now.as_ref().unwrap())), ["s", "t"]);
    assert_eq!(of(&finding.base.as_ref().unwrap().source), "o");
    assert_eq!(world.values(1, "b"), ["s".to_owned(), "o".to_owned()], "nothing of the record is written");
    assert!(world.conflicts().is_empty());
}

#[tokio::test]
async fn a_person_takes_a_side() {
    for (take, winner, value) in [(End::Source, Winner::Source, "s"), (End::Target, Winner::Target, "t")] {
        let world = contested().await;
        assert_eq!(world.decide(Some(take), Json::Null).await, (Verdict::Applied, String::new()));
        assert_eq!(
            (world.values(1, "a"), world.values(1, "b")),
            (both(value), both("s")),
            "what is not contested flows"
        );
        assert_eq!(world.conflicts(), [("a".to_owned(), winner, None)]);
        assert!(world.findings().is_empty());
        world.at_rest(&[1]).await;
    }
}

#[tokio::test]
async fn a_person_gives_a_value() {
    let world = contested().await;
    assert_eq!(world.decide(None, json!({"a": "both"})).await.0, Verdict::Applied);
    assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("both"), both("s")));
    assert_eq!(world.conflicts(), [("a".to_owned(), Winner::Merged, None)]);
    world.at_rest(&[1]).await;
}

#[tokio::test]
async fn a_decision_about_other_images_is_stale() {
    let world = contested().await;
    let seen = world.findings().remove(0);
    world.edit(End::Target, 1, &[("a", "t2")]);
    let (verdict, _) = world.decide_about(seen.clone(), seen.version(), Some(End::Source), Json::Null).await;
    assert_eq!(verdict, Verdict::Stale);
    assert_eq!(world.values(1, "a"), ["s".to_owned(), "t2".to_owned()], "nothing is written");
    let now = world.findings().remove(0);
    assert_ne!(now.version(), seen.version(), "the review shows what there is");
    assert_eq!(world.decide(Some(End::Source), Json::Null).await.0, Verdict::Applied);
    assert_eq!(world.values(1, "a"), both("s"));
}

#[tokio::test]
async fn an_edit_that_ends_the_conflict_clears_the_review() {
    let world = contested().await;
    world.edit(End::Target, 1, &[("a", "s")]);
    world.process(End::Target, &[1]).await;
    assert!(world.findings().is_empty());
    assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("s"), both("s")));
}

#[tokio::test]
async fn update_against_delete_waits_for_a_person_too() {
    for (take, left) in [(End::Source, [false, false]), (End::Target, [true, true])] {
        let mut binding = binding(Rule::Manual);
        binding.deletes = Deletes::Propagate;
        let world = agreed(binding).await;
        world.delete(End::Source, 1);
        world.edit(End::Target, 1, &[("a", "t")]);
        world.both(End::Source, &[1]).await;
        assert_eq!(world.exists(1), [false, true]);
        assert_eq!(world.findings()[0].kind, ReviewKind::Conflict);
        assert_eq!(world.decide(Some(take), Json::Null).await.0, Verdict::Applied);
        assert_eq!(world.exists(1), left);
        assert_eq!(world.conflicts(), [(String::new(), Winner::from(take), None)]);
        world.at_rest(&[1]).await;
    }
}

#[tokio::test]
async fn a_refused_value_is_corrected_on_both_sides_or_taken_back() {
    for (take, set, expected) in [
        (None, json!({"a": "x"}), Some(both("x"))),
        (Some(End::Target), Json::Null, Some(both("o"))),
        (None, json!({"a": "still too long"}), None),
        (None, Json::Null, None),
        (Some(End::Source), Json::Null, None),
    ] {
        let world = agreed(short(Rule::LATER, OnInvalid::RejectRecord)).await;
        world.edit(End::Source, 1, &[("a", "long")]);
        world.process(End::Source, &[1]).await;
        assert_eq!(world.findings()[0].kind, ReviewKind::Rejected);
        let (verdict, why) = world.decide(take, set.clone()).await;
        match expected {
            Some(values) => {
                assert_eq!((verdict, world.values(1, "a")), (Verdict::Applied, values), "{set} {why}");
                assert!(world.findings().is_empty());
                world.at_rest(&[1]).await;
            }
            None => {
                assert_eq!(verdict, Verdict::Refused, "{set}");
                assert_eq!(world.values(1, "a"), ["long".to_owned(), "o".to_owned()], "I8");
                assert_eq!(world.findings().len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_refused_record_is_corrected_before_it_is_created() {
    for end in [End::Source, End::Target] {
        let world = World::new(short(Rule::LATER, OnInvalid::RejectRecord));
        world.edit(end, 1, &[("a", "long"), ("b", "v")]);
        world.process(end, &[1]).await;
        assert_eq!((world.exists(1)[0], world.exists(1)[1]), (end == End::Source, end == End::Target));
        let (verdict, why) = world.decide(None, json!({"a": "x"})).await;
        assert_eq!(verdict, Verdict::Applied, "{why}");
        assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("x"), both("v")), "{end:?}");
        world.at_rest(&[1]).await;
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_reason() {
    for (set, expected) in [
        (json!({"none": 1}), "no mapping has the target field \"none\""),
        (json!({"id": 2}), "\"id\" is the key: it cannot be set"),
    ] {
        let world = contested().await;
        assert_eq!(world.decide(None, set).await, (Verdict::Refused, expected.to_owned()));
        assert_eq!(world.values(1, "a"), ["s".to_owned(), "t".to_owned()]);
        assert_eq!(world.findings().len(), 1, "it waits still");
    }
}

/// The clock of these tables moves by one microsecond an edit.
#[tokio::test]
async fn changes_that_clocks_cannot_tell_apart_go_to_the_fallback() {
    for (close, values, waits) in
        [(Close::Later, ["t", "t"], 0), (Close::Prefer(End::Source), ["s", "s"], 0), (Close::Manual, ["s", "t"], 1)]
    {
        let mut binding = binding(Rule::LastWriteWins(close));
        binding.skew_window = std::time::Duration::from_micros(1);
        let world = agreed(binding).await;
        world.edit(End::Source, 1, &[("a", "s")]);
        world.edit(End::Target, 1, &[("a", "t")]);
        world.both(End::Source, &[1]).await;
        assert_eq!((world.values(1, "a"), world.findings().len()), (values.map(Into::into), waits), "{close:?}");
        world.edit(End::Target, 1, &[("b", "later")]);
        world.edit(End::Target, 1, &[("a", "t")]);
        world.both(End::Source, &[1]).await;
        assert!(world.findings().is_empty(), "they are far enough apart now: {close:?}");
    }
}

/// The target was written, and then the process killed: the decision waits still, and is carried out to its end.
#[tokio::test]
async fn a_decision_is_finished_that_a_crash_cut_short() {
    let world = World::new(short(Rule::LATER, OnInvalid::RejectRecord));
    world.edit(End::Source, 1, &[("a", "long"), ("b", "v")]);
    world.process(End::Source, &[1]).await;
    world.edit(End::Target, 1, &[("a", "x"), ("b", "v")]);
    let (verdict, why) = world.decide(None, json!({"a": "x"})).await;
    assert_eq!((verdict, world.values(1, "a")), (Verdict::Applied, both("x")), "{why}");
    world.at_rest(&[1]).await;

    let world = contested().await;
    let seen = world.findings().remove(0);
    world.edit(End::Target, 1, &[("a", "both"), ("b", "s")]);
    let (verdict, why) = world.decide_about(seen.clone(), seen.version(), None, json!({"a": "both"})).await;
    assert_eq!((verdict, world.values(1, "a")), (Verdict::Applied, both("both")), "{why}");
    world.at_rest(&[1]).await;
}

/// Between the look and the write somebody edits a side: nothing that the person has not seen is overwritten.
#[tokio::test]
async fn an_edit_that_overtakes_a_decision_makes_it_stale() {
    for (take, set) in [(Some(End::Source), Json::Null), (Some(End::Target), Json::Null), (None, json!({"a": "both"}))]
    {
        for end in [End::Source, End::Target] {
            let world = contested().await;
            world.meanwhile(end, 1, "a", "unseen");
            let (verdict, _) = world.decide(take, set.clone()).await;
            if take == Some(end) {
                continue;
            }
            assert_eq!(verdict, Verdict::Stale, "{take:?} {set} {end:?}");
            assert_eq!(world.value(end, 1, "a"), "unseen", "{take:?} {set} {end:?}");
            assert_eq!(world.findings().len(), 1, "it waits still");
        }
    }
}

/// A refused record and its counterpart know each other before anything was agreed: a person sees both, and may take either.
#[tokio::test]
async fn a_refused_record_is_shown_with_its_counterpart() {
    let world = World::new(short(Rule::LATER, OnInvalid::RejectRecord));
    world.edit(End::Source, 1, &[("a", "long"), ("b", "v")]);
    world.edit(End::Target, 1, &[("a", "t"), ("b", "v")]);
    world.both(End::Source, &[1]).await;
    let [finding] = &world.findings()[..] else { panic!("one review") };
    assert!(finding.now.source.is_some() && finding.now.target.is_some() && finding.other.is_some(), "{finding:?}");
    assert_eq!(world.decide(Some(End::Target), Json::Null).await.0, Verdict::Applied);
    assert_eq!(world.values(1, "a"), both("t"));
    world.at_rest(&[1]).await;
}

/// What is in review is no longer what was agreed, so the other side's edits are never decided as if it were.
#[tokio::test]
async fn an_edit_in_review_is_not_forgotten_when_the_other_side_stirs() {
    let world = contested().await;
    world.edit(End::Target, 1, &[("a", "o")]);
    world.process(End::Target, &[1]).await;
    assert_eq!((world.values(1, "a"), world.findings().len()), (both("s"), 0), "the source alone has changed it now");

    let world = agreed(short(Rule::LATER, OnInvalid::RejectRecord)).await;
    world.edit(End::Source, 1, &[("a", "long")]);
    world.process(End::Source, &[1]).await;
    world.process(End::Target, &[1]).await;
    assert_eq!(world.findings().len(), 1, "nothing has changed: it waits still");
    world.edit(End::Target, 1, &[("a", "too")]);
    world.process(End::Target, &[1]).await;
    assert_eq!(world.findings().len(), 1, "one review of a record, whichever side is refused");
}
