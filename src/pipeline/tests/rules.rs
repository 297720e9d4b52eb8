//! What becomes of a record that a rule does not let through: every `on_error`, both directions, new and known records, and what retries
//! and people make of it.

use serde_json::{Value as Json, json};

use super::counts::short;
use super::functions::function;
use super::world::World;
use crate::change::{End, Ends};
use crate::config::{OnInvalid, Rule};
use crate::pipeline::binding::Binding;
use crate::state::{ReviewKind, Verdict};

/// What a record with a value that is too long comes to at the other side.
struct Row {
    on_error: OnInvalid,
    /// What brings the value into form.
    standardizer: Option<&'static str>,
    /// Value of `a` there, where it was nothing or "o" before; `None`: nothing of the record is written.
    other: Option<[&'static str; 2]>,
    warnings: u64,
}

const fn row(on_error: OnInvalid, other: Option<[&'static str; 2]>) -> Row {
    Row { on_error, standardizer: None, other, warnings: 0 }
}

const ROWS: [Row; 8] = [
    row(OnInvalid::RejectRecord, None),
    row(OnInvalid::QueueForManualReview, None),
    row(OnInvalid::StandardizeFormat, None),
    Row { standardizer: Some("initial"), ..row(OnInvalid::StandardizeFormat, Some(["l", "l"])) },
    // Another form, which the rule does not let through either.
    Row { standardizer: Some("same"), ..row(OnInvalid::StandardizeFormat, None) },
    row(OnInvalid::SetNull, Some(["", ""])),
    row(OnInvalid::SkipField, Some(["", "o"])),
    Row { warnings: 1, ..row(OnInvalid::Warn, Some(["long", "long"])) },
];

impl Row {
    fn binding(&self) -> Binding {
        let mut binding = short(Rule::LATER, self.on_error);
        for rule in &mut binding.checks {
            rule.standardizer = Ends::from_fn(|_| self.standardizer.into_iter().map(function).collect());
        }
        binding
    }

    fn told(&self, from: End, known: bool) -> String {
        format!("{:?} {:?} from {from:?}, known: {known}", self.on_error, self.standardizer)
    }
}

/// One record of `from`, agreed before where it is `known`, whose `a` is then too long and whose `b` is changed too.
async fn broken(row: &Row, from: End, known: bool) -> World {
    let world = World::new(row.binding());
    if known {
        world.edit(from, 1, &[("a", "o"), ("b", "o")]);
        world.process(from, &[1]).await;
    }
    world.edit(from, 1, &[("a", "long"), ("b", "v")]);
    world
}

fn cases() -> impl Iterator<Item = (&'static Row, End, bool)> {
    ROWS.iter().flat_map(|row| {
        [End::Source, End::Target].into_iter().flat_map(move |from| [true, false].map(|known| (row, from, known)))
    })
}

#[tokio::test]
async fn every_way_to_treat_a_value_that_breaks_a_rule() {
    for (row, from, known) in cases() {
        let told = row.told(from, known);
        let world = broken(row, from, known).await;
        let counts = world.process(from, &[1]).await;
        let written = [counts.written_source, counts.written_target];
        let value = |field| world.value(from.other(), 1, field);
        match row.other {
            Some(expected) => {
                assert_eq!((value("a"), value("b")), (expected[usize::from(known)].into(), "v".into()), "{told}");
                assert_eq!(
                    (written.iter().sum::<u64>(), counts.rejected, counts.warnings),
                    (1, 0, row.warnings),
                    "{told}"
                );
                assert!(world.findings().is_empty(), "{told}");
            }
            None => {
                let before = if known { "o" } else { "" };
                assert_eq!([value("a"), value("b")], [before, before], "{told}");
                assert_eq!((written, counts.rejected), ([0, 0], 1), "{told}");
                let [finding] = &world.findings()[..] else { panic!("{told}: no review") };
                assert_eq!(
                    (finding.kind, finding.end, &*finding.code),
                    (ReviewKind::Rejected, from, "validation.length")
                );
            }
        }
        // The broken value itself is nobody's to change, and whoever asks again gets the same answer (I8).
        assert_eq!(world.value(from, 1, "a"), "long", "{told}");
        world.at_rest(&[1]).await;
        assert_eq!(world.findings().len(), usize::from(row.other.is_none()), "{told}");
    }
}

#[tokio::test]
async fn neither_a_retry_nor_a_person_gets_a_value_past_a_rule() {
    for (row, from, known) in cases().filter(|(row, ..)| row.other.is_none()) {
        let told = row.told(from, known);
        let world = broken(row, from, known).await;
        world.process(from, &[1]).await;
        let before = world.values(1, "a");
        for (take, set) in [(None, Json::Null), (Some(from), Json::Null), (None, json!({"a": "also long"}))] {
            let (verdict, why) = world.decide(take, set.clone()).await;
            assert_eq!((verdict, why.contains("too many")), (Verdict::Refused, true), "{told} {set}: {why}");
            assert_eq!(world.values(1, "a"), before, "{told} {set}");
            assert_eq!(world.findings().len(), 1, "{told} {set}");
        }
        assert_eq!(world.decide(None, json!({"a": "x"})).await.0, Verdict::Applied, "{told}");
        assert_eq!(
            (world.values(1, "a"), world.values(1, "b")),
            (["x", "x"].map(Into::into), ["v", "v"].map(Into::into)),
            "{told}"
        );
        assert!(world.findings().is_empty(), "{told}");
        world.at_rest(&[1]).await;
    }
}

/// A newer edit that the rule lets through ends the review by itself.
#[tokio::test]
async fn a_valid_edit_clears_the_review() {
    for (row, from, known) in cases().filter(|(row, ..)| row.other.is_none()) {
        let world = broken(row, from, known).await;
        world.process(from, &[1]).await;
        world.edit(from, 1, &[("a", "y")]);
        world.process(from, &[1]).await;
        assert_eq!(
            (world.values(1, "a"), world.findings().len()),
            (["y", "y"].map(Into::into), 0),
            "{}",
            row.told(from, known)
        );
        world.at_rest(&[1]).await;
    }
}
