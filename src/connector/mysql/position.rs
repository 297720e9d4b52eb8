//! Positions of a change table (layer 4). Pure.
//!
//! Sequence numbers are given before the commit, so "everything after number n" skips transactions that began early and commit
//! late. A position therefore also names the numbers up to n that were not there when it was read: what was rolled back, and what is
//! still to be committed. `gates` tells the two apart.

use serde::{Deserialize, Serialize};

use crate::change::Position;

/// Numbers from the first to the last.
pub(super) type Range = (i64, i64);

/// Where the reader of a change table stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPosition {
    /// Every number up to here was delivered, or is open, or will never be.
    pub(super) seq: i64,
    /// Numbers that may still come, in order, without overlap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) open: Vec<Range>,
}

impl LogPosition {
    /// Takes note of a change that was delivered.
    pub(super) fn deliver(&mut self, seq: i64) {
        if seq > self.seq {
            if seq > self.seq + 1 {
                self.open.push((self.seq + 1, seq - 1));
            }
            self.seq = seq;
        } else {
            self.close(&[(seq, seq)]);
        }
    }

    /// Takes note that these numbers will never come, or were delivered.
    pub(super) fn close(&mut self, closed: &[Range]) {
        for (from, to) in closed {
            let cut = |(first, last): Range| {
                [(first, last.min(from - 1)), (first.max(to + 1), last)]
                    .into_iter()
                    .filter(|(first, last)| first <= last)
            };
            self.open = std::mem::take(&mut self.open).into_iter().flat_map(cut).collect();
        }
    }

    /// No number up to this one can come any more.
    pub(super) fn decided(&self) -> i64 {
        self.open.first().map_or(self.seq, |(first, _)| first - 1)
    }

    /// The condition for the numbers that the reader has not seen.
    pub(super) fn unseen(&self) -> String {
        format!("(seq > {}{})", self.seq, within(&self.open))
    }
}

/// ` OR seq BETWEEN a AND b …`.
pub(super) fn within(ranges: &[Range]) -> String {
    ranges.iter().map(|(first, last)| format!(" OR seq BETWEEN {first} AND {last}")).collect()
}

/// Writes a position.
pub(super) fn write<T: Serialize>(position: &T) -> Position {
    Position(serde_json::to_string(position).unwrap_or_default())
}

/// Reads a position; `None` where it is none of ours.
pub(super) fn read<T: for<'de> Deserialize<'de>>(position: &Position) -> Option<T> {
    serde_json::from_str(&position.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_stays_open_until_it_comes_or_never_will() {
        let mut position = LogPosition { seq: 3, open: vec![] };
        for seq in [4, 7, 10] {
            position.deliver(seq);
        }
        assert_eq!(position, LogPosition { seq: 10, open: vec![(5, 6), (8, 9)] });
        assert_eq!(position.decided(), 4);
        assert_eq!(position.unseen(), "(seq > 10 OR seq BETWEEN 5 AND 6 OR seq BETWEEN 8 AND 9)");
        position.deliver(8);
        position.deliver(5);
        assert_eq!(position.open, [(6, 6), (9, 9)]);
        position.close(&[(1, 6), (12, 20)]);
        assert_eq!((position.open.as_slice(), position.decided()), ([(9, 9)].as_slice(), 8));
        position.close(&[(9, 9)]);
        assert_eq!((position.open.len(), position.decided()), (0, 10));
    }

    #[test]
    fn a_range_is_cut_in_two() {
        let mut position = LogPosition { seq: 9, open: vec![(1, 9)] };
        position.deliver(4);
        assert_eq!(position.open, [(1, 3), (5, 9)]);
    }

    #[test]
    fn positions_survive_the_state_store() {
        let position = LogPosition { seq: i64::MAX, open: vec![(1, 2)] };
        assert_eq!(read::<LogPosition>(&write(&position)).unwrap(), position);
        assert!(read::<LogPosition>(&Position("17".into())).is_none());
    }
}
