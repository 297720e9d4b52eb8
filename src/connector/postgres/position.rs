//! Positions of a change table (layer 4).
//!
//! Sequence numbers are given before the commit, so "everything after number n" skips transactions that began early and commit
//! late. A position is therefore a snapshot: everything visible in `seen` was delivered. While a window of changes that became
//! visible since is read page by page, the position also holds the snapshot that closes the window and the last row of the page.

use serde::{Deserialize, Serialize};

use crate::change::Position;

/// A `pg_snapshot`: transactions below `xmin` are over; of those below `xmax` only `running` are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Every transaction below this was over.
    pub(super) xmin: u64,
    /// No transaction from this on had begun.
    pub(super) xmax: u64,
    /// Those in between that were still running.
    pub(super) running: Vec<u64>,
}

impl Snapshot {
    /// Reads the server's text, `xmin:xmax:xip,xip`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = match parts.next()? {
            "" => Vec::new(),
            list => list.split(',').map(|xid| xid.parse().ok()).collect::<Option<_>>()?,
        };
        parts.next().is_none().then_some(Self { xmin, xmax, running })
    }
}

/// Where the reader of a change table stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogPosition {
    /// Everything visible in this snapshot was delivered.
    pub(super) seen: String,
    /// The window that is being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Window>,
}

/// A part of the change table between two snapshots, and how far it was read in the order of (xid, seq).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// The snapshot that closes it.
    pub(super) until: String,
    /// Transaction of the last row read.
    pub(super) xid: u64,
    /// Number of the last row read.
    pub(super) seq: i64,
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
    fn snapshots_are_read_as_the_server_prints_them() {
        assert_eq!(Snapshot::parse("10:20:10,14").unwrap(), Snapshot { xmin: 10, xmax: 20, running: vec![10, 14] });
        assert_eq!(Snapshot::parse("7:7:").unwrap(), Snapshot { xmin: 7, xmax: 7, running: vec![] });
        assert!(Snapshot::parse("7:7").is_none());
        assert!(Snapshot::parse("a:b:").is_none());
    }

    #[test]
    fn positions_survive_the_state_store() {
        let position = LogPosition {
            seen: "1:2:".into(),
            window: Some(Window { until: "3:4:".into(), xid: u64::MAX, seq: i64::MAX }),
        };
        assert_eq!(read::<LogPosition>(&write(&position)).unwrap(), position);
        assert!(read::<LogPosition>(&Position("17".into())).is_none());
    }
}
