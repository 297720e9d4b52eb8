//! Deletes that are carried out, marked, held up by the guard or kept by a filter; tombstones; records that go back and forth.

use std::time::Duration;

use serde_json::Value as Json;

use super::world::World;
use crate::change::{End, Ends};
use crate::config::{DeleteGuard, Deletes, LoopPrevention, Rule};
use crate::pipeline::binding::{Binding, BoundField, Mark};
use crate::pipeline::reconcile::tests::binding;
use crate::record::layout;
use crate::state::{ReviewKind, Verdict};
use crate::value::Kind;

/// `count` records that both sides have.
async fn agreed(binding: Binding, count: i64) -> (World, Vec<i64>) {
    let world = World::new(binding);
    let ids: Vec<i64> = (1..=count).collect();
    for id in &ids {
        world.edit(End::Source, *id, &[("a", "o"), ("b", "o")]);
    }
    world.process(End::Source, &ids).await;
    (world, ids)
}

fn guarded(deletes: Deletes) -> Binding {
    let guard = DeleteGuard { max_fraction: 0.5, min_count: 2, window: Duration::from_secs(3600) };
    Binding { deletes, delete_guard: Some(guard), ..binding(Rule::LATER) }
}

/// Both sides have a text field `gone` that marks their records.
fn marking() -> Binding {
    let of = BoundField { name: "gone".to_owned(), position: 3, kind: Kind::Text };
    Binding {
        deletes: Deletes::SoftDelete,
        marks: Ends::from_fn(|_| Some(Mark(of.clone()))),
        layouts: Ends::from_fn(|_| layout(["id", "a", "b", "gone"])),
        ..binding(Rule::LATER)
    }
}

fn both(value: &str) -> [String; 2] {
    [value, value].map(Into::into)
}

fn alive(world: &World, ids: &[i64], end: usize) -> usize {
    ids.iter().filter(|id| world.exists(**id)[end]).count()
}

#[tokio::test]
async fn too_many_deletes_wait_and_everything_else_flows() {
    let (world, ids) = agreed(guarded(Deletes::Propagate), 10).await;
    for id in &ids[..6] {
        world.delete(End::Source, *id);
    }
    world.edit(End::Source, 10, &[("a", "new")]);
    world.process(End::Source, &ids).await;
    assert_eq!(alive(&world, &ids, 1), 10, "none of them is carried out");
    assert_eq!(world.value(End::Target, 10, "a"), "new");
    let findings = world.findings();
    assert_eq!(findings.len(), 6);
    assert!(findings.iter().all(|one| one.kind == ReviewKind::DeleteGuard && one.code == "record.guarded"));

    for (id, take, left) in [(1, End::Source, [false, false]), (2, End::Target, [true, true])] {
        let finding = world.findings().into_iter().find(|one| one.key.to_string() == id.to_string()).unwrap();
        let version = finding.version();
        let (verdict, why) = world.decide_about(finding, version, Some(take), Json::Null).await;
        assert_eq!((verdict, world.exists(id)), (Verdict::Applied, left), "{why}");
    }
    assert_eq!(world.value(End::Source, 2, "a"), "o", "it is there again");
    assert_eq!(world.findings().len(), 4);
}

#[tokio::test]
async fn as_many_as_the_guard_lets_through_are_carried_out() {
    let (world, ids) = agreed(guarded(Deletes::Propagate), 10).await;
    for id in &ids[..5] {
        world.delete(End::Source, *id);
    }
    world.process(End::Source, &ids).await;
    assert_eq!(alive(&world, &ids, 1), 5);
    world.delete(End::Source, 6);
    world.process(End::Source, &ids).await;
    assert_eq!((alive(&world, &ids, 1), world.findings().len()), (5, 1), "they count over the whole window");
}

#[tokio::test]
async fn deletes_that_are_announced_wait_from_the_first_on() {
    let (world, ids) = agreed(guarded(Deletes::Propagate), 10).await;
    world.announce_deletes(End::Target, 6).await;
    for id in &ids[..6] {
        world.delete(End::Source, *id);
    }
    for id in &ids[..6] {
        world.process(End::Source, &[*id]).await;
    }
    assert_eq!((alive(&world, &ids, 1), world.findings().len()), (10, 6));
}

#[tokio::test]
async fn a_delete_leaves_a_mark_and_later_edits_do_not_undo_it() {
    let (world, _) = agreed(marking(), 1).await;
    world.delete(End::Source, 1);
    world.process(End::Source, &[1]).await;
    assert_eq!(world.exists(1), [false, true]);
    assert!(world.value(End::Target, 1, "gone").starts_with("20"), "{}", world.value(End::Target, 1, "gone"));
    world.at_rest(&[1]).await;
    world.edit(End::Target, 1, &[("a", "edited")]);
    world.both(End::Target, &[1]).await;
    assert_eq!(world.exists(1), [false, true], "I7");
    world.at_rest(&[1]).await;
}

#[tokio::test]
async fn a_mark_is_taken_away_by_a_new_record_or_brings_the_old_one_back() {
    let (world, _) = agreed(marking(), 1).await;
    world.delete(End::Source, 1);
    world.process(End::Source, &[1]).await;
    world.edit(End::Source, 1, &[("a", "again"), ("b", "o")]);
    world.process(End::Source, &[1]).await;
    assert_eq!((world.value(End::Target, 1, "gone"), world.values(1, "a")), (String::new(), both("again")));
    world.at_rest(&[1]).await;

    world.delete(End::Source, 1);
    world.process(End::Source, &[1]).await;
    world.clear(End::Target, 1, "gone");
    world.process(End::Target, &[1]).await;
    assert_eq!(world.values(1, "a"), both("again"), "it is there again");
    world.at_rest(&[1]).await;
}

#[tokio::test]
async fn what_is_marked_before_it_is_known_is_not_born() {
    let world = World::new(marking());
    world.edit(End::Target, 1, &[("a", "x"), ("gone", "2020")]);
    world.both(End::Target, &[1]).await;
    assert_eq!(world.exists(1), [false, true]);
}

#[tokio::test]
async fn a_record_that_leaves_the_filter_stays_and_is_kept_in_step_when_it_is_back() {
    let filtered = Ends { source: true, target: false };
    let (world, _) = agreed(Binding { filtered, ..binding(Rule::LATER) }, 1).await;
    let left = world.leave(End::Source, 1);
    world.process(End::Source, &[1]).await;
    world.edit(End::Target, 1, &[("b", "t")]);
    world.both(End::Target, &[1]).await;
    assert_eq!((world.value(End::Target, 1, "a"), world.findings().len()), ("o".to_owned(), 0));
    world.come_back(End::Source, 1, left);
    world.edit(End::Source, 1, &[("a", "back")]);
    world.both(End::Source, &[1]).await;
    assert_eq!((world.values(1, "a"), world.values(1, "b")), (both("back"), both("t")));

    let (world, _) = agreed(binding(Rule::LATER), 1).await;
    world.leave(End::Source, 1);
    world.process(End::Source, &[1]).await;
    assert_eq!(world.exists(1), [false, false], "as if it had been deleted");
}

#[tokio::test]
async fn an_image_older_than_the_delete_raises_nothing() {
    for end in [End::Source, End::Target] {
        let (world, _) = agreed(binding(Rule::LATER), 1).await;
        let old = world.image(end, 1);
        world.delete(end, 1);
        world.process(end, &[1]).await;
        assert_eq!(world.exists(1), [false, false]);
        world.process_image(end, 1, old.clone()).await;
        assert_eq!(world.exists(1), [false, false], "I7");
        world.come_back(end, 1, old);
        world.process(end, &[1]).await;
        assert_eq!(world.exists(1), [true, true], "a true rebirth comes through");
    }
}

fn looping() -> Binding {
    let settings = LoopPrevention { window: Duration::from_secs(3600), max_update_count: 2 };
    Binding { loop_prevention: Some(settings), ..binding(Rule::LATER) }
}

#[tokio::test]
async fn a_record_that_goes_back_and_forth_is_stopped_and_the_others_flow() {
    let (world, ids) = agreed(looping(), 2).await;
    let mut writes = 0;
    for round in 0..50 {
        let value = if round % 2 == 0 { "A" } else { "a" };
        world.edit(End::Source, 1, &[("a", value)]);
        world.edit(End::Source, 2, &[("a", &round.to_string())]);
        writes += world.process(End::Source, &ids).await.written_target;
    }
    let [finding] = &world.findings()[..] else { panic!("one record is stopped") };
    assert_eq!(
        (finding.kind, &*finding.code, finding.key.to_string().as_str()),
        (ReviewKind::Loop, "record.loop", "1")
    );
    assert!(finding.message.contains("3 times"), "{}", finding.message);
    assert_eq!((writes, world.value(End::Target, 2, "a")), (50 + 5, "49".to_owned()));

    let (verdict, why) = world.decide(Some(End::Source), Json::Null).await;
    assert_eq!((verdict, world.values(1, "a")), (Verdict::Applied, both("a")), "{why}");
    assert!(world.findings().is_empty());
}
