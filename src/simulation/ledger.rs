//! What people did to the simulated systems, independent of what the program makes of it: every value that a person writes is unique, so that
//! that it can be followed wherever it goes; nulls, and values that are put back, may be any of several writes.

use std::collections::BTreeSet;

use super::table::FIELDS;
use crate::change::Ends;
use crate::value::Value;

/// One person's write of one field.
pub(super) type Mark = usize;

/// One person's insert: what it is about stays the same thing in every system.
pub(super) type Thing = usize;

#[derive(Debug)]
pub(super) struct Written {
    pub(super) thing: Thing,
    pub(super) field: usize,
    /// What stood there, and was seen by who wrote this.
    pub(super) before: Option<Mark>,
    pub(super) null: bool,
    /// The first write of this very value: itself, unless it was put back.
    pub(super) text: Mark,
    /// Left out when the record was inserted: that is no edit.
    pub(super) left_out: bool,
}

/// One person's delete.
#[derive(Debug)]
pub(super) struct Deleted {
    /// Its key, where that is the same everywhere.
    pub(super) shared_id: Option<i64>,
    pub(super) things: BTreeSet<Thing>,
    /// What stood in the record.
    pub(super) seen: [Option<Mark>; FIELDS],
}

/// A conflict that is on record now.
#[derive(Debug)]
pub(super) struct OnRecord {
    pub(super) id: i64,
    pub(super) pair: usize,
    pub(super) ids: Ends<i64>,
    /// Whether the later change won.
    pub(super) by_time: bool,
    /// What it is about.
    pub(super) things: BTreeSet<Thing>,
    /// `None`: update against delete.
    pub(super) field: Option<usize>,
    pub(super) winner: Option<Value>,
    pub(super) loser: Option<Value>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) written: Vec<Written>,
    pub(super) deleted: Vec<Deleted>,
    pub(super) on_record: Vec<OnRecord>,
    /// What somebody saw beside each other in a review, and chose: the later is to replace the earlier.
    pub(super) chosen: Vec<(Mark, Mark)>,
    things: usize,
}

impl Ledger {
    pub(super) fn thing(&mut self) -> Thing {
        self.things += 1;
        self.things
    }

    pub(super) fn write(&mut self, written: Written) -> Mark {
        self.written.push(written);
        self.written.len() - 1
    }

    /// Who wrote a value of this field: the writes that it may be a copy of. Empty where nobody ever did.
    pub(super) fn authors(&self, things: &BTreeSet<Thing>, field: usize, value: &Value) -> Vec<Mark> {
        if value.is_null() {
            let is =
                |one: &Written| one.null && one.field == field && (things.is_empty() || things.contains(&one.thing));
            return self.written.iter().enumerate().filter(|(_, one)| is(one)).map(|(mark, _)| mark).collect();
        }
        let text = mark_in(value);
        let is = |one: &Written| !one.null && one.field == field && Some(one.text) == text;
        self.written.iter().enumerate().filter(|(_, one)| is(one)).map(|(mark, _)| mark).collect()
    }

    /// Whether no other write has the same value.
    pub(super) fn is_unique(&self, mark: Mark) -> bool {
        let one = &self.written[mark];
        !one.null && self.written.iter().filter(|other| !other.null && other.text == one.text).count() == 1
    }

    /// Whether a value is one of these writes.
    fn is(&self, mark: Mark, value: Option<&Value>) -> bool {
        match value {
            Some(Value::Null) => self.written[mark].null,
            Some(value) => !self.written[mark].null && mark_in(value) == Some(self.written[mark].text),
            // What a side has cannot be said in the target's terms: it was refused.
            None => true,
        }
    }

    /// Whether whoever wrote `later` had `earlier` before their eyes, or somebody whose value they saw had.
    pub(super) fn saw(&self, later: Mark, earlier: Mark) -> bool {
        let mut seen = self.written[later].before;
        while let Some(mark) = seen.filter(|mark| *mark != earlier) {
            seen = self.written[mark].before;
        }
        seen.is_some()
    }

    /// Whether whoever wrote `later` knew of `earlier`: saw it, or saw what it lost to, which is on record.
    pub(super) fn knows(&self, later: Mark, earlier: Mark) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![later];
        while let Some(mark) = open.pop() {
            if mark == earlier {
                return true;
            }
            if !seen.insert(mark) {
                continue;
            }
            open.extend(self.written[mark].before);
            open.extend(self.chosen.iter().filter(|(later, _)| *later == mark).map(|(_, earlier)| *earlier));
            let of = |one: &&OnRecord| {
                one.field == Some(self.written[mark].field)
                    && (one.winner.is_some() && self.is(mark, one.winner.as_ref()))
                    && (!self.written[mark].null || one.things.contains(&self.written[mark].thing))
            };
            for lost in self.on_record.iter().filter(of) {
                if self.is(earlier, lost.loser.as_ref()) && lost.things.contains(&self.written[earlier].thing) {
                    return true;
                }
                match &lost.loser {
                    Some(Value::Null) | None => {
                        let is = |one: &Written| {
                            one.null && Some(one.field) == lost.field && lost.things.contains(&one.thing)
                        };
                        open.extend(self.written.iter().enumerate().filter(|(_, one)| is(one)).map(|(mark, _)| mark));
                    }
                    Some(value) => {
                        let text = mark_in(value);
                        let is = |one: &Written| !one.null && Some(one.text) == text;
                        open.extend(self.written.iter().enumerate().filter(|(_, one)| is(one)).map(|(mark, _)| mark));
                    }
                }
            }
        }
        false
    }

    /// The keys of the conflict of that pair in which this write lost to that one, because it was earlier.
    pub(super) fn last_write_wins(&self, pair: usize, (lost, won): (Mark, Mark)) -> Option<Ends<i64>> {
        let is = |one: &&OnRecord| {
            let same = |mark: Mark, value: &Option<Value>| value.is_some() && self.is(mark, value.as_ref());
            one.pair == pair && one.by_time && same(lost, &one.loser) && same(won, &one.winner)
        };
        self.on_record.iter().rev().find(is).map(|one| one.ids)
    }

    /// Whether an update against a delete of one of these is on record.
    pub(super) fn has_deletion_conflict(&self, things: &BTreeSet<Thing>) -> bool {
        self.on_record.iter().any(|one| one.field.is_none() && !one.things.is_disjoint(things))
    }
}

/// The write that a text carries: the number after the `w`.
fn mark_in(value: &Value) -> Option<Mark> {
    let Value::Text(text) = value else { return None };
    let text = text.trim_start().strip_prefix(['w', 'W'])?;
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
