//! Record transforms: what they leave out, hand to a person or fail on, and computed fields that both sides edit.

use super::world::World;
use crate::change::End;
use crate::config::Rule;
use crate::pipeline::reconcile::tests::names::with_names;
use crate::state::Winner;

async fn people(rule: Rule, names: &[&'static str]) -> World {
    let world = World::new(with_names(rule));
    let ids: Vec<i64> = (1..).take(names.len()).collect();
    for (id, name) in ids.iter().zip(names) {
        world.edit(End::Source, *id, &[("full", name), ("a", "x"), ("b", "y")]);
    }
    world.process(End::Source, &ids).await;
    world
}

fn full_names(world: &World, id: i64) -> [String; 2] {
    let target = format!("{} {}", world.value(End::Target, id, "first"), world.value(End::Target, id, "last"));
    [world.value(End::Source, id, "full"), target]
}

#[tokio::test]
async fn only_the_record_itself_is_left_out_put_in_review_or_failed() {
    let world = World::new(with_names(Rule::LATER));
    for (id, name) in [(1, "Ada Skip"), (2, "Ada Review"), (3, "Ada Trap"), (4, "Ada King")] {
        world.edit(End::Source, id, &[("full", name)]);
    }
    let counts = world.process(End::Source, &[1, 2, 3, 4]).await;
    assert_eq!((counts.skipped, counts.rejected, counts.written_target), (1, 2, 1), "{counts:?}");
    assert_eq!([1, 2, 3, 4].map(|id| world.exists(id)[1]), [false, false, false, true]);
    let codes = [(End::Source, 2, "plugin.review".to_owned()), (End::Source, 3, "trap".to_owned())];
    assert_eq!(world.reviews(), codes);
    // Another edit clears it.
    for id in [1, 2, 3] {
        world.edit(End::Source, id, &[("full", "Ada Byron")]);
    }
    let counts = world.process(End::Source, &[1, 2, 3]).await;
    assert_eq!((counts.written_target, world.reviews()), (3, vec![]));
    world.at_rest(&[1, 2, 3, 4]).await;
}

#[tokio::test]
async fn a_linked_record_that_is_left_out_stays_as_it_is_on_both_sides() {
    let world = people(Rule::LATER, &["Ada King", "Alan Turing"]).await;
    world.edit(End::Source, 1, &[("full", "Ada Skip"), ("a", "x2")]);
    world.edit(End::Source, 2, &[("a", "x2")]);
    let counts = world.process(End::Source, &[1, 2]).await;
    assert_eq!((counts.skipped, counts.rejected, counts.written_target), (1, 0, 1), "{counts:?}");
    assert_eq!(full_names(&world, 1), ["Ada Skip", "Ada King"]);
    assert_eq!(
        (world.values(1, "a"), world.values(2, "a")),
        (["x2", "x"].map(Into::into), ["x2", "x2"].map(Into::into))
    );
    assert_eq!(world.reviews(), []);
}

#[tokio::test]
async fn a_failure_keeps_only_the_edits_of_its_record() {
    let world = people(Rule::LATER, &["Ada King", "Alan Turing"]).await;
    world.edit(End::Source, 1, &[("full", "Ada Trap"), ("a", "x2")]);
    world.edit(End::Source, 2, &[("full", "Alan M."), ("a", "x2")]);
    let counts = world.process(End::Source, &[1, 2]).await;
    assert_eq!((counts.rejected, counts.written_target), (1, 1), "{counts:?}");
    assert_eq!((full_names(&world, 1)[1].as_str(), world.value(End::Target, 1, "a").as_str()), ("Ada King", "x"));
    assert_eq!(full_names(&world, 2), ["Alan M.", "Alan M."]);
}

/// Both sides' edits come to the same, whichever is seen first, and to one conflict.
#[tokio::test]
async fn both_edits_are_one_conflict_settled_alike_from_both_ends() {
    for first in [End::Source, End::Target] {
        for late in [End::Source, End::Target] {
            let world = people(Rule::LATER, &["Ada King"]).await;
            let edit = |end: End| match end {
                End::Source => world.edit(end, 1, &[("full", "Augusta King")]),
                End::Target => world.edit(end, 1, &[("last", "Byron")]),
            };
            [late.other(), late].into_iter().for_each(edit);
            let counts = world.both(first, &[1]).await;
            let expected = if late == End::Source { "Augusta King" } else { "Ada Byron" };
            assert_eq!(full_names(&world, 1), [expected, expected], "{first:?} {late:?}");
            assert_eq!(counts.conflicts, 1, "{counts:?}");
            assert_eq!(world.conflicts(), [("first, last".to_owned(), Winner::from(late), None)]);
            assert_eq!(world.contested(), [["Augusta, King", "Ada, Byron"].map(String::from)]);
            world.at_rest(&[1]).await;
        }
    }
}

/// The target's write is through when the source turns out to have changed: nothing of either is lost or recorded twice.
#[tokio::test]
async fn a_write_that_comes_too_late_is_decided_again_alone() {
    let world = people(Rule::Prefer(End::Source), &["Ada King"]).await;
    world.edit(End::Source, 1, &[("full", "Augusta King")]);
    world.edit(End::Target, 1, &[("last", "Byron"), ("b", "y2")]);
    world.meanwhile(End::Source, 1, "a", "x2");
    let counts = world.both(End::Source, &[1]).await;
    assert_eq!(full_names(&world, 1), ["Augusta King", "Augusta King"]);
    assert_eq!(
        (world.values(1, "a"), world.values(1, "b")),
        (["x2", "x2"].map(Into::into), ["y2", "y2"].map(Into::into))
    );
    assert_eq!((counts.conflicts, world.conflicts().len()), (1, 1));
    world.at_rest(&[1]).await;
}

/// The same where what changes meanwhile is what the group reads: one more edit, which flows.
#[tokio::test]
async fn an_edit_in_between_is_seen_and_never_overwritten_in_silence() {
    let world = people(Rule::Prefer(End::Source), &["Ada King"]).await;
    world.edit(End::Source, 1, &[("full", "Augusta King")]);
    world.edit(End::Target, 1, &[("last", "Byron"), ("b", "y2")]);
    world.meanwhile(End::Source, 1, "full", "Augusta Ada");
    let counts = world.both(End::Target, &[1]).await;
    assert_eq!(full_names(&world, 1), ["Augusta Ada", "Augusta Ada"]);
    assert_eq!((world.values(1, "b"), counts.conflicts), (["y2", "y2"].map(Into::into), 1));
    world.at_rest(&[1]).await;

    let world = people(Rule::LATER, &["Ada King"]).await;
    world.edit(End::Source, 1, &[("full", "Augusta King")]);
    world.meanwhile(End::Target, 1, "last", "Byron");
    let counts = world.process(End::Source, &[1]).await;
    assert_eq!((full_names(&world, 1), counts.conflicts), (["Augusta King", "Augusta King"].map(Into::into), 1));
    assert_eq!(world.contested(), [["Augusta, King", "Ada, Byron"].map(String::from)]);
}
