//! Positions of a replication stream (layer 4, pure). The stream is in the order of commits: a position is the log's position of a commit
//! and a number of changes of that transaction.
//!
//! A transaction is in the log a moment before anybody can see it, and with synchronous replication for as long as the standby takes. So the
//! position behind everything that is visible cannot be one of the log alone: it is the snapshot that says what was seen.

use serde::{Deserialize, Serialize};

use super::super::position::Snapshot;

/// Where the reader of a stream stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamPosition {
    /// Transactions whose commit stands before this were delivered…
    pub(super) lsn: u64,
    /// …and this many changes of the one whose commit stands there.
    pub(super) index: u64,
    /// Until then, what was visible already when the reader began is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) begun: Option<Begun>,
}

/// What a reader found when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// What was visible.
    pub(super) seen: String,
    /// The end of the log: no transaction that commits behind it was.
    pub(super) until: u64,
}

impl StreamPosition {
    /// Moves on, and forgets how it began once that does not matter any more.
    pub(super) fn moved(&self, lsn: u64, index: u64) -> Self {
        Self { lsn, index, begun: self.begun.clone().filter(|begun| lsn < begun.until) }
    }

    /// What decides whether a change was delivered, read once.
    pub(super) fn passed(&self) -> Option<Passed> {
        let begun = match &self.begun {
            Some(begun) => Some((Snapshot::parse(&begun.seen)?, begun.until)),
            None => None,
        };
        Some(Passed { at: (self.lsn, self.index), begun })
    }
}

/// What lies behind a position.
pub(super) struct Passed {
    at: (u64, u64),
    begun: Option<(Snapshot, u64)>,
}

impl Passed {
    /// Whether change `index` of the transaction `xid`, whose commit stands at `lsn`, lies behind.
    pub(super) fn holds(&self, (lsn, index): (u64, u64), xid: u32) -> bool {
        let seen = |(seen, until): &(Snapshot, u64)| lsn < *until && shows(seen, xid);
        (lsn, index) < self.at || self.begun.as_ref().is_some_and(seen)
    }
}

/// Whether a snapshot shows the changes of a transaction, whose number comes without its epoch: the one that is nearest is meant.
pub(super) fn shows(snapshot: &Snapshot, xid: u32) -> bool {
    const EPOCH: u64 = 1 << 32;
    let near = (snapshot.xmax & !(EPOCH - 1)) | u64::from(xid);
    let xid = if near > snapshot.xmax.saturating_add(EPOCH / 2) {
        near.saturating_sub(EPOCH)
    } else if near.saturating_add(EPOCH / 2) < snapshot.xmax {
        near.saturating_add(EPOCH)
    } else {
        near
    };
    xid < snapshot.xmin || (xid < snapshot.xmax && !snapshot.running.contains(&xid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    #[test]
    fn what_runs_or_comes_later_is_not_shown() {
        let seen = snapshot("10:20:12,14");
        let shown: Vec<u32> = (8..23).filter(|xid| shows(&seen, *xid)).collect();
        assert_eq!(shown, [8, 9, 10, 11, 13, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn numbers_that_began_anew_are_told_from_old_ones() {
        let epoch = 1_u64 << 32;
        let seen = snapshot(&format!("{}:{}:", 3 * epoch + 5, 3 * epoch + 5));
        assert!(shows(&seen, 4) && shows(&seen, u32::MAX), "the last of the epoch before");
        assert!(!shows(&seen, 5));
        let seen = snapshot(&format!("{}:{}:", 3 * epoch - 5, 3 * epoch - 5));
        assert!(!shows(&seen, 1), "the first of the next");
        assert!(shows(&snapshot("5:5:"), 4) && !shows(&snapshot("5:5:"), 6));
    }

    #[test]
    fn a_position_holds_what_was_delivered_and_what_was_seen() {
        let begun = Begun { seen: "10:20:12".into(), until: 100 };
        let head = StreamPosition { lsn: 50, index: 0, begun: Some(begun) };
        let passed = head.passed().unwrap();
        assert!(passed.holds((49, 9), 12), "delivered long ago");
        assert!(passed.holds((60, 0), 11) && !passed.holds((60, 0), 12), "seen; committed, but not visible yet");
        assert!(!passed.holds((100, 0), 11) && !passed.holds((60, 0), 20));
        let next = head.moved(60, 1);
        let passed = next.passed().unwrap();
        assert!(passed.holds((60, 0), 12) && !passed.holds((60, 1), 12) && passed.holds((70, 0), 13));
        assert_eq!(head.moved(100, 0).begun, None);
        assert!(StreamPosition { begun: Some(Begun { seen: "?".into(), until: 1 }), ..head }.passed().is_none());
    }
}
