//! What is counted and put on record, and that nothing is twice, however often it is decided.

use super::world::World;
use crate::change::{End, Ends};
use crate::config::{OnInvalid, Rule};
use crate::pipeline::binding::{Binding, BoundCheck, BoundRule};
use crate::pipeline::reconcile::tests::binding;
use crate::state::Winner;
use crate::value::Kind;

/// `a` has at most one character.
pub(super) fn short(rule: Rule, on_error: OnInvalid) -> Binding {
    let mut binding = binding(rule);
    binding.checks = vec![BoundRule {
        field: "a".to_owned(),
        places: Ends::from_fn(|_| Some(1)),
        kinds: Ends::from_fn(|_| Some(Kind::Text)),
        check: BoundCheck::Length { min: None, max: Some(1) },
        on_error,
        standardizer: Ends::default(),
    }];
    binding
}

async fn agreed(binding: Binding) -> World {
    let world = World::new(binding);
    world.edit(End::Source, 1, &[("a", "o"), ("b", "o")]);
    world.process(End::Source, &[1]).await;
    world
}

#[tokio::test]
async fn a_warning_is_counted_once_and_only_where_it_is_written() {
    let world = agreed(short(Rule::LATER, OnInvalid::Warn)).await;
    world.edit(End::Source, 1, &[("a", "long")]);
    world.meanwhile(End::Target, 1, "b", "t");
    let counts = world.both(End::Source, &[1]).await;
    assert_eq!((counts.warnings, counts.written_target, counts.written_source), (1, 1, 1), "{counts:?}");
    assert_eq!(
        (world.value(End::Target, 1, "a"), world.value(End::Source, 1, "b")),
        ("long".to_owned(), "t".to_owned())
    );
    let counts = world.both(End::Source, &[1]).await;
    assert_eq!(counts.warnings, 0, "nothing is written");

    world.edit(End::Source, 1, &[("a", "longer")]);
    world.refuse(End::Target, "longer");
    let counts = world.process(End::Source, &[1]).await;
    assert_eq!((counts.warnings, counts.rejected), (0, 1), "{counts:?}");
}

#[tokio::test]
async fn a_conflict_is_counted_once_however_often_it_is_decided() {
    for first in [End::Source, End::Target] {
        let world = agreed(binding(Rule::LATER)).await;
        world.edit(End::Source, 1, &[("a", "s"), ("b", "s")]);
        world.edit(End::Target, 1, &[("a", "t")]);
        world.meanwhile(End::Target, 1, "b", "t");
        world.meanwhile(End::Source, 1, "b", "s2");
        let counts = world.both(first, &[1]).await;
        assert_eq!(counts.conflicts, world.conflicts().len() as u64);
        let of_a: Vec<_> = world.conflicts().into_iter().filter(|(field, ..)| field == "a").collect();
        assert_eq!(of_a, [("a".to_owned(), Winner::Target, None)], "{first:?}");
        assert_eq!(world.values(1, "a"), ["t", "t"]);
        world.at_rest(&[1]).await;
    }
}

/// The loser of one field is overwritten; that the other end then refuses another field does not take that from the record (I6).
#[tokio::test]
async fn what_was_overwritten_is_on_record_even_if_the_rest_is_refused() {
    let mut binding = binding(Rule::Prefer(End::Source));
    binding.rules[2] = Rule::Prefer(End::Target);
    let world = agreed(binding).await;
    world.edit(End::Source, 1, &[("a", "s"), ("b", "s")]);
    world.edit(End::Target, 1, &[("a", "t"), ("b", "t")]);
    world.refuse(End::Source, "t");
    let counts = world.process(End::Source, &[1]).await;
    assert_eq!((world.values(1, "a"), world.values(1, "b")), (["s", "s"].map(Into::into), ["s", "t"].map(Into::into)));
    assert_eq!((counts.rejected, counts.conflicts), (1, 1), "{counts:?}");
    assert_eq!(world.conflicts(), [("a".to_owned(), Winner::Source, None)], "`b` is not settled yet");
}

#[tokio::test]
async fn a_field_that_is_skipped_is_no_conflict() {
    let world = agreed(short(Rule::Prefer(End::Source), OnInvalid::SkipField)).await;
    world.edit(End::Source, 1, &[("a", "long"), ("b", "s")]);
    world.edit(End::Target, 1, &[("a", "t")]);
    let counts = world.both(End::Source, &[1]).await;
    assert_eq!((counts.conflicts, world.conflicts()), (0, vec![]));
    assert_eq!(
        (world.values(1, "a"), world.values(1, "b")),
        (["long", "t"].map(Into::into), ["s", "s"].map(Into::into))
    );
    world.at_rest(&[1]).await;

    // Whoever is seen first: the later change wins, and what it costs is on record.
    for first in [End::Source, End::Target] {
        for known in [true, false] {
            let binding = short(Rule::LATER, OnInvalid::SkipField);
            let world = if known { agreed(binding).await } else { World::new(binding) };
            world.edit(End::Source, 1, &[("a", "long")]);
            if !known {
                world.process(End::Source, &[1]).await;
            }
            world.edit(End::Target, 1, &[("a", "t")]);
            let counts = world.both(first, &[1]).await;
            assert_eq!((counts.conflicts, world.values(1, "a")), (1, ["t", "t"].map(Into::into)), "{first:?} {known}");
            assert_eq!(world.conflicts(), [("a".to_owned(), Winner::Target, None)]);
            world.at_rest(&[1]).await;
        }
    }
}
