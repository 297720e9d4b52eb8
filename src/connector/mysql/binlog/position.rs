//! Positions of the log (layer 4, pure). The log is in the order of commits: a position is a place between two groups of events, or one before
//! a group and a number of its changes.
//!
//! A file's name says nothing of whose it is: `RESET MASTER` begins with the first again, and another server has files of the same names. So
//! a position carries what its file begins with: which server made it, and when. Where transactions have ids, it carries those, too: by them the
//! place is found again in the log of another server.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::gtid::{Gtid, Gtids, Known};

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its name, which ends with its number.
    pub(super) name: String,
    /// The server that made it and when, in seconds since 1970.
    pub(super) made: (u32, u32),
}

impl File {
    /// Its number.
    pub(super) fn number(&self) -> u64 {
        number(&self.name)
    }
}

/// The number of a file of the log.
pub(super) fn number(name: &str) -> u64 {
    name.rsplit('.').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// In which file.
    pub(super) file: Arc<File>,
    /// The byte at which the next event begins.
    pub(super) at: u64,
}

impl Spot {
    /// Number of the file, and place in it: what spots of one server are ordered by.
    pub(super) fn order(&self) -> (u64, u64) {
        (self.file.number(), self.at)
    }
}

/// Where a change stands: its group, and its number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the group begins. Of a transaction that was prepared it is the group that commits it.
    pub(super) group: Spot,
    /// Its number among the changes of the table.
    pub(super) index: u64,
}

impl Place {
    fn order(&self) -> ((u64, u64), u64) {
        (self.group.order(), self.index)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// Where the reader of a log stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", from = "Written")]
pub(super) struct LogPosition {
    /// Groups that begin before this were delivered…
    pub(super) spot: Spot,
    /// …and this many changes of the one that begins here.
    pub(super) index: u64,
    /// Places of the key's columns in the rows from there on.
    pub(super) key: Arc<[usize]>,
    /// What the key's columns are, as far as reading them goes.
    pub(super) form: Arc<str>,
    /// Where to read from: a transaction was prepared there that is not decided yet.
    pub(super) from: Option<Spot>,
    /// Which transactions lie behind, where that is known.
    pub(super) gtid: Option<Arc<Known>>,
}

/// A place as it is kept: name of the file, server and time of its making, byte.
#[derive(Serialize, Deserialize)]
struct WrittenSpot(String, u32, u32, u64);

impl From<Spot> for WrittenSpot {
    fn from(Spot { file, at }: Spot) -> Self {
        Self(file.name.clone(), file.made.0, file.made.1, at)
    }
}

impl From<WrittenSpot> for Spot {
    fn from(WrittenSpot(name, server, second, at): WrittenSpot) -> Self {
        Self { file: Arc::new(File { name, made: (server, second) }), at }
    }
}

/// A position as it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    log: WrittenSpot,
    #[serde(default, skip_serializing_if = "is_none")]
    index: u64,
    key: Vec<usize>,
    form: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<WrittenSpot>,
    /// What was had before the last transaction, that transaction, and its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gtid: Option<(String, String, u32)>,
}

/// A set with more gaps than can be written in so many bytes is not kept: the position is put down in a column of 64 KiB.
const KNOWN_BYTES_MAX: usize = 16 << 10;

fn write_known(known: &Known) -> Option<(String, String, u32)> {
    let (last, at) = known.last?;
    Some((known.before.to_string(), last.to_string(), at)).filter(|(before, ..)| before.len() <= KNOWN_BYTES_MAX)
}

fn read_known((before, last, at): &(String, String, u32)) -> Option<Arc<Known>> {
    let last = Gtid::read(last)?;
    let before = Gtids::read(before, matches!(last, Gtid::InDomain(..)))?;
    Some(Arc::new(Known { before, last: Some((last, *at)) }))
}

impl From<LogPosition> for Written {
    fn from(LogPosition { spot, index, key, form, from, gtid }: LogPosition) -> Self {
        let gtid = gtid.and_then(|known| write_known(&known));
        Self { log: spot.into(), index, key: key.to_vec(), form: form.to_string(), from: from.map(Into::into), gtid }
    }
}

impl From<Written> for LogPosition {
    fn from(Written { log, index, key, form, from, gtid }: Written) -> Self {
        let gtid = gtid.as_ref().and_then(read_known);
        Self { spot: log.into(), index, key: key.into(), form: form.into(), from: from.map(Into::into), gtid }
    }
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it skips by reference")]
const fn is_none(index: &u64) -> bool {
    *index == 0
}

impl LogPosition {
    /// Where to read from.
    pub(super) fn begin(&self) -> &Spot {
        self.from.as_ref().unwrap_or(&self.spot)
    }

    /// Whether a change lies behind.
    pub(super) fn has(&self, place: &Place) -> bool {
        place.order() < (self.spot.order(), self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(name: &str, at: u64) -> Spot {
        Spot { file: Arc::new(File { name: name.to_owned(), made: (1, 2) }), at }
    }

    #[test]
    fn positions_are_in_the_order_of_files_and_places() {
        assert!(spot("b.000009", 900).order() < spot("b.000010", 4).order());
        assert!(spot("b.999999", 4).order() < spot("b.1000000", 4).order());
        let position = LogPosition {
            spot: spot("b.000002", 50),
            index: 2,
            key: [0].into(),
            form: "int".into(),
            from: None,
            gtid: None,
        };
        let place = |name: &str, at: u64, index: u64| Place { group: spot(name, at), index };
        assert!(position.has(&place("b.000001", 99, 7)) && position.has(&place("b.000002", 50, 1)));
        assert!(!position.has(&place("b.000002", 50, 2)) && !position.has(&place("b.000002", 51, 0)));
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let known = |before: &str, last: &str| read_known(&(before.to_owned(), last.to_owned(), 9));
        for (index, from, gtid) in [
            (0, None, None),
            (3, Some(spot("b.000001", 4)), known("0-1-6,2-9-1", "0-2-7")),
            (0, None, known("f43b6f45-e9c9-11f1-b11a-02fc00000001:1-6", "f43b6f45-e9c9-11f1-b11a-02fc00000001:7")),
            (0, None, known("", "f43b6f45-e9c9-11f1-b11a-02fc00000001:1")),
        ] {
            let position =
                LogPosition { spot: spot("b.000002", 50), index, key: [1, 0].into(), form: "int".into(), from, gtid };
            let text = serde_json::to_string(&position).unwrap();
            assert_eq!(serde_json::from_str::<LogPosition>(&text).unwrap(), position, "{text}");
        }
        let gaps: Vec<String> = (0..4_000).map(|gap| format!("{}-{}", gap * 3 + 1, gap * 3 + 2)).collect();
        let many = format!("f43b6f45-e9c9-11f1-b11a-02fc00000001:{}", gaps.join(":"));
        assert_eq!(write_known(&known(&many, "f43b6f45-e9c9-11f1-b11a-02fc00000001:20000").unwrap()), None);
        let old = r#"{"log":["b.000002",1,2,50],"key":[0],"form":"int"}"#;
        assert_eq!(serde_json::from_str::<LogPosition>(old).unwrap().gtid, None, "as versions before wrote it");
    }
}
