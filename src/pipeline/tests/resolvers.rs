//! Resolvers of plugins: what becomes of each answer, and of none.

use super::functions::{function, text};
use super::world::World;
use crate::change::{End, Ends};
use crate::config::{OnInvalid, Rule};
use crate::pipeline::binding::{Binding, BoundCheck, BoundRule};
use crate::pipeline::reconcile::tests::binding;
use crate::state::Winner;
use crate::value::Kind;

/// Every field is settled by this resolver, an update against a delete by time.
fn resolved_by(name: &str) -> Binding {
    let mut binding = binding(Rule::Plugin(0));
    binding.resolvers = vec![function(name)];
    binding.default_rule = Rule::LATER;
    binding
}

/// Records 1 and 2, agreed, then 1 edited on both sides and 2 on the source's.
async fn contested(binding: Binding) -> World {
    let world = World::new(binding);
    for id in [1, 2] {
        world.edit(End::Source, id, &[("a", "o"), ("b", "o")]);
    }
    world.process(End::Source, &[1, 2]).await;
    world.edit(End::Source, 1, &[("a", "s"), ("b", "s")]);
    world.edit(End::Target, 1, &[("a", "t"), ("b", "t")]);
    world.edit(End::Source, 2, &[("a", "s")]);
    world
}

fn both(value: &str) -> [String; 2] {
    [value.to_owned(), value.to_owned()]
}

fn untouched(world: &World) {
    for field in ["a", "b"] {
        assert_eq!(world.values(1, field), ["s", "t"]);
    }
    assert_eq!(world.conflicts(), [], "nothing is settled");
}

#[tokio::test]
async fn a_value_of_its_own_reaches_both_sides() {
    for first in [End::Source, End::Target] {
        let world = contested(resolved_by("both")).await;
        let counts = world.both(first, &[1, 2]).await;
        assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("s+t"), both("s+t")));
        assert_eq!(world.values(2, "a"), both("s"));
        let said = |field: &str| (field.to_owned(), Winner::Merged, Some("both".to_owned()));
        assert_eq!((counts.conflicts, world.conflicts()), (2, vec![said("a"), said("b")]));
        let asked = std::mem::take(&mut *world.functions.asked.lock().unwrap());
        assert_eq!(asked.len(), 1, "once, with all that it may know");
        assert_eq!(asked[0].fields, ["a", "b"]);
        assert_eq!(asked[0].base.as_ref().unwrap().get("a"), Some(&text("o")));
        assert_eq!(asked[0].values.source.get("b"), Some(&text("s")));
        assert!(asked[0].modified.source < asked[0].modified.target, "{:?}", asked[0].modified);
        world.at_rest(&[1, 2]).await;
    }
}

#[tokio::test]
async fn the_base_or_one_side_can_be_chosen() {
    for (name, winner, value) in [("base", Winner::Base, "o"), ("target", Winner::Target, "t")] {
        let world = contested(resolved_by(name)).await;
        world.both(End::Source, &[1, 2]).await;
        assert_eq!((world.values(1, "a"), world.values(1, "b")), (both(value), both(value)));
        let said = |field: &str| (field.to_owned(), winner, Some(name.to_owned()));
        assert_eq!(world.conflicts(), [said("a"), said("b")]);
        world.at_rest(&[1, 2]).await;
    }
}

#[tokio::test]
async fn a_base_that_there_is_not_settles_nothing() {
    let world = World::new(resolved_by("base"));
    world.edit(End::Source, 1, &[("a", "s"), ("b", "s")]);
    world.edit(End::Target, 1, &[("a", "t"), ("b", "t")]);
    world.both(End::Target, &[1]).await;
    untouched(&world);
    assert_eq!(world.reviews(), [(End::Source, 1, "conflict.review".to_owned())]);
}

/// Review, a failure and a field left out all leave the record to a person and nothing else; one review, whoever is seen first.
#[tokio::test]
async fn what_is_not_settled_waits_and_everything_else_flows() {
    for first in [End::Source, End::Target] {
        for (name, reason) in [("review", "review"), ("first_only", "first_only")] {
            let world = contested(resolved_by(name)).await;
            let counts = world.both(first, &[1, 2]).await;
            untouched(&world);
            assert_eq!((world.values(2, "a"), counts.conflicts), (both("s"), 0));
            assert_eq!(world.reviews(), [(End::Source, 1, "conflict.review".to_owned())]);
            assert!(world.messages()[0].ends_with(reason), "{:?}", world.messages());
            // A later edit with which both sides agree.
            world.edit(End::Target, 1, &[("a", "s"), ("b", "s")]);
            let counts = world.process(End::Target, &[1]).await;
            assert_eq!((counts.written_source, counts.written_target), (0, 0));
            assert_eq!((world.reviews(), world.conflicts()), (vec![], vec![]));
            world.at_rest(&[1, 2]).await;
            world.edit(End::Source, 1, &[("a", "later")]);
            world.process(End::Source, &[1]).await;
            assert_eq!(world.values(1, "a"), both("later"), "what was agreed is the new base");
        }
    }
}

#[tokio::test]
async fn a_failure_is_an_error_of_its_record_only() {
    let world = contested(resolved_by("trap")).await;
    world.edit(End::Source, 1, &[("a", "trap")]);
    world.edit(End::Target, 2, &[("a", "t")]);
    world.both(End::Source, &[1, 2]).await;
    assert_eq!((world.values(1, "a"), world.values(2, "a")), (["trap", "t"].map(String::from), both("s+t")));
    assert_eq!(world.reviews(), [(End::Source, 1, "conflict.review".to_owned())]);
    assert!(world.messages()[0].ends_with("trap: it crashed [trap]"), "{:?}", world.messages());
    assert_eq!(world.conflicts(), [("a".to_owned(), Winner::Merged, Some("trap".to_owned()))]);
}

#[tokio::test]
async fn other_fields_keep_their_own_rules() {
    let mut binding = resolved_by("both");
    binding.rules[2] = Rule::Prefer(End::Target);
    let world = contested(binding).await;
    world.both(End::Source, &[1, 2]).await;
    assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("s+t"), both("t")));
    let expected = [("a", Winner::Merged, Some("both".to_owned())), ("b", Winner::Target, None)];
    assert_eq!(sorted(&world), expected.map(|(field, winner, resolver)| (field.to_owned(), winner, resolver)));
    world.at_rest(&[1, 2]).await;

    let mut binding = resolved_by("both");
    binding.resolvers.push(function("target"));
    binding.rules[2] = Rule::Plugin(1);
    let world = contested(binding).await;
    world.both(End::Source, &[1, 2]).await;
    assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("s+t"), both("t")));
    let expected = [("a", Winner::Merged, "both"), ("b", Winner::Target, "target")];
    assert_eq!(sorted(&world), expected.map(|(field, winner, name)| (field.to_owned(), winner, Some(name.to_owned()))));
}

fn sorted(world: &World) -> Vec<(String, Winner, Option<String>)> {
    let mut conflicts = world.conflicts();
    conflicts.sort_by(|one, other| one.0.cmp(&other.0));
    conflicts
}

/// A resolver settles fields; of a record that is gone on one side there are none.
#[tokio::test]
async fn an_update_against_a_delete_goes_by_time() {
    for (late, exists) in [(End::Source, [false, false]), (End::Target, [true, true])] {
        let world = contested(resolved_by("both")).await;
        match late {
            End::Source => {
                world.edit(End::Target, 2, &[("a", "t")]);
                world.delete(End::Source, 2);
            }
            End::Target => {
                world.delete(End::Source, 2);
                world.edit(End::Target, 2, &[("a", "t")]);
            }
        }
        world.process(End::Target, &[2]).await;
        assert_eq!(world.exists(2), exists, "{late:?}");
        assert_eq!(world.conflicts(), [(String::new(), Winner::from(late), None)]);
        assert!(world.functions.asked.lock().unwrap().is_empty());
    }
}

fn at_most(max: u64, on_error: OnInvalid, places: Ends<Option<usize>>) -> BoundRule {
    BoundRule {
        field: "a".to_owned(),
        places,
        kinds: Ends::from_fn(|_| Some(Kind::Text)),
        check: BoundCheck::Length { min: None, max: Some(max) },
        on_error,
        standardizer: Ends::default(),
    }
}

/// A resolver's own value is held to the rules where it would be written, on either side.
#[tokio::test]
async fn a_value_of_its_own_must_satisfy_the_rules_of_both_sides() {
    let only = |end: End| Ends::from_fn(|other| (other == end).then_some(1));
    for from in [End::Source, End::Target] {
        let mut binding = resolved_by("both");
        binding.checks = vec![at_most(2, OnInvalid::RejectRecord, only(from))];
        let world = contested(binding).await;
        world.both(End::Source, &[1, 2]).await;
        untouched(&world);
        assert_eq!(world.reviews(), [(from, 1, "validation.length".to_owned())]);
        assert_eq!(world.values(2, "a"), both("s"));
    }
    let mut binding = resolved_by("both");
    binding.checks = vec![at_most(2, OnInvalid::SetNull, only(End::Source))];
    let world = contested(binding).await;
    world.both(End::Source, &[1, 2]).await;
    assert_eq!(
        (world.values(1, "a"), world.values(1, "b")),
        (both(""), both("s+t")),
        "what the rule says goes to both"
    );
    world.at_rest(&[1, 2]).await;
}

/// The merged value is at the target when the source turns out to have changed: it must reach the source all the same.
#[tokio::test]
async fn a_merge_that_is_half_written_is_finished() {
    for (field, value) in [("b", "s2"), ("a", "s2")] {
        let mut binding = resolved_by("both");
        binding.rules[2] = Rule::Prefer(End::Source);
        let world = contested(binding).await;
        world.meanwhile(End::Source, 1, field, value);
        world.both(End::Source, &[1, 2]).await;
        let [source, target] = world.values(1, "a");
        assert_eq!(source, target, "{field}");
        assert!(source.contains("s+t"), "what both sides had is in it: {source}");
        assert!(field != "a" || source.contains("s2"), "{source}");
        assert_eq!(world.values(1, "b"), both(if field == "b" { "s2" } else { "s" }));
        world.at_rest(&[1, 2]).await;
    }
}
