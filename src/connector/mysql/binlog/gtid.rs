//! Global transaction ids (layer 4, pure): what a server and its replicas call the same transaction by, in whichever file each has it.
//!
//! MySQL numbers by the server that a transaction was first committed on (`UUID:7`), and a reader's state is the set of what it has. MariaDB numbers
//! by domain (`0-1-7`: domain, server, number), and the state is the last of each domain. MySQL's ids with tags are not read: where one comes, the
//! state is not known.
//!
//! <https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html>, <https://mariadb.com/kb/en/gtid/>

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use super::bytes::Fields;

/// The id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gtid {
    /// MySQL's: the server and the number.
    Numbered(Uuid, u64),
    /// MariaDB's: domain, server and number.
    InDomain(u32, u32, u64),
}

/// What a reader has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gtids {
    /// MySQL's: of each server, ranges from the first to the last number.
    Numbered(BTreeMap<Uuid, Vec<(u64, u64)>>),
    /// MariaDB's: the last server and number of each domain.
    InDomain(BTreeMap<u32, (u32, u64)>),
}

/// What is known at a place in the log: enough to find the place in the log of another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// What was had before the last transaction.
    pub(super) before: Gtids,
    /// That transaction, and when it was begun, in seconds since 1970: by which it is known again. None where none was read yet.
    pub(super) last: Option<(Gtid, u32)>,
}

impl Known {
    /// What is had.
    pub(super) fn had(&self) -> Gtids {
        let mut had = self.before.clone();
        if let Some((last, _)) = self.last {
            had.add(last);
        }
        had
    }
}

impl Gtids {
    /// Adds one; whether it is of that kind.
    pub(super) fn add(&mut self, gtid: Gtid) -> bool {
        match (self, gtid) {
            (Self::Numbered(servers), Gtid::Numbered(server, number)) => {
                add(servers.entry(server).or_default(), (number, number));
                true
            }
            (Self::InDomain(domains), Gtid::InDomain(domain, server, number)) => {
                domains.insert(domain, (server, number));
                true
            }
            (Self::Numbered(_) | Self::InDomain(_), _) => false,
        }
    }

    /// Reads what [`Display`](fmt::Display) writes, and what a server says of itself. `None` where it is neither.
    pub(super) fn read(text: &str, mariadb: bool) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        if mariadb {
            let mut domains = BTreeMap::new();
            for part in parts {
                let Gtid::InDomain(domain, server, number) = Gtid::read(part)? else { return None };
                domains.insert(domain, (server, number));
            }
            return Some(Self::InDomain(domains));
        }
        let mut servers = BTreeMap::new();
        for part in parts {
            let mut fields = part.split(':');
            let ranges: &mut Vec<_> = servers.entry(Uuid::try_parse(fields.next()?).ok()?).or_default();
            for range in fields {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                add(ranges, (first.trim().parse().ok()?, last.trim().parse().ok()?));
            }
        }
        Some(Self::Numbered(servers))
    }

    /// Reads the second event of a file: what the files before it have.
    pub(super) fn of_file(mut body: Fields<'_>, mariadb: bool) -> Option<Self> {
        if mariadb {
            let count = body.little(4)? & 0x0fff_ffff;
            let mut domains = BTreeMap::new();
            for _ in 0..count {
                let (domain, server) = (body.little(4)?, body.little(4)?);
                // Of a domain's servers the last comes last.
                domains.insert(u32::try_from(domain).ok()?, (u32::try_from(server).ok()?, body.little(8)?));
            }
            return Some(Self::InDomain(domains));
        }
        let mut servers = BTreeMap::new();
        // Where there are tags, the highest byte is not zero.
        let count = u32::try_from(body.little(8)?).ok()?;
        for _ in 0..count {
            let server = Uuid::from_slice(body.take(16)?).ok()?;
            let ranges: &mut Vec<_> = servers.entry(server).or_default();
            for _ in 0..body.little(8)? {
                let (first, behind) = (body.little(8)?, body.little(8)?);
                add(ranges, (first, behind.checked_sub(1)?));
            }
        }
        Some(Self::Numbered(servers))
    }

    /// As MySQL is asked by: servers with their ranges, each from its first number to the one behind its last.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let Self::Numbered(servers) = self else { return Vec::new() };
        let number = |count: usize| u64::try_from(count).unwrap_or_default().to_le_bytes();
        let mut bytes = number(servers.len()).to_vec();
        for (server, ranges) in servers {
            bytes.extend_from_slice(server.as_bytes());
            bytes.extend_from_slice(&number(ranges.len()));
            for (first, last) in ranges {
                bytes.extend_from_slice(&first.to_le_bytes());
                bytes.extend_from_slice(&last.saturating_add(1).to_le_bytes());
            }
        }
        bytes
    }
}

/// Adds a range to ranges that are in order and do not touch.
fn add(ranges: &mut Vec<(u64, u64)>, (first, last): (u64, u64)) {
    if let Some(end) = ranges.last_mut().filter(|end| end.1.checked_add(1) == Some(first)) {
        end.1 = last.max(first);
        return;
    }
    ranges.push((first, last));
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        match joined.last_mut().filter(|end| range.0 <= end.1.saturating_add(1)) {
            Some(end) => end.1 = end.1.max(range.1),
            None => joined.push(range),
        }
    }
    *ranges = joined;
}

impl Gtid {
    /// Reads `UUID:7` or `0-1-7`.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some((server, number)) = text.split_once(':') {
            return Some(Self::Numbered(Uuid::try_parse(server).ok()?, number.parse().ok()?));
        }
        let mut parts = text.splitn(3, '-');
        let (domain, server, number) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self::InDomain(domain.parse().ok()?, server.parse().ok()?, number.parse().ok()?))
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(server, number) => write!(f, "{server}:{number}"),
            Self::InDomain(domain, server, number) => write!(f, "{domain}-{server}-{number}"),
        }
    }
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        match self {
            Self::Numbered(servers) => {
                for (server, ranges) in servers {
                    write!(f, "{between}{server}")?;
                    ranges.iter().try_for_each(|(first, last)| write!(f, ":{first}-{last}"))?;
                    between = ",";
                }
            }
            Self::InDomain(domains) => {
                for (domain, (server, number)) in domains {
                    write!(f, "{between}{}", Gtid::InDomain(*domain, *server, *number))?;
                    between = ",";
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "f43b6f45-e9c9-11f1-b11a-02fc00000001";
    const OTHER: &str = "01020304-0506-0708-090a-0b0c0d0e0f10";

    #[test]
    fn sets_of_mysql_are_read_added_to_and_sent() {
        let mut had = Gtids::read(&format!("{ONE}:1-5:9,\n{OTHER}:3"), false).unwrap();
        for gtid in [format!("{ONE}:6"), format!("{ONE}:8"), format!("{ONE}:7"), format!("{OTHER}:1")] {
            assert!(had.add(Gtid::read(&gtid).unwrap()));
        }
        assert_eq!(had.to_string(), format!("{OTHER}:1-1:3-3,{ONE}:1-9"));
        assert_eq!(Gtids::read(&had.to_string(), false).unwrap(), had);
        assert_eq!(
            Gtids::of_file(Fields(&had.encoded()), false).unwrap(),
            had,
            "the event has the form of the question"
        );
        assert!(!had.add(Gtid::read("0-1-7").unwrap()));
        assert_eq!(Gtids::read("", false).unwrap().encoded(), [0; 8]);
    }

    #[test]
    fn the_last_of_each_domain_is_what_mariadb_goes_by() {
        let mut had = Gtids::read("0-1-7,3-2-1", true).unwrap();
        assert!(had.add(Gtid::read("0-2-8").unwrap()));
        assert_eq!(had.to_string(), "0-2-8,3-2-1");
        let entry = |domain: u32, server: u32, number: u64| {
            [&domain.to_le_bytes()[..], &server.to_le_bytes(), &number.to_le_bytes()].concat()
        };
        let body = [&[3, 0, 0, 0x10][..], &entry(0, 1, 7), &entry(0, 2, 8), &entry(3, 2, 1)].concat();
        assert_eq!(Gtids::of_file(Fields(&body), true).unwrap(), had);
    }

    #[test]
    fn what_is_none_is_not_guessed_at() {
        for text in ["x", "0-1", "f43b6f45:1", &format!("{ONE}:1-5:tag:1-3"), "0-1-2"] {
            assert!(Gtids::read(text, false).is_none(), "{text}");
        }
        assert!(Gtids::read("0-1", true).is_none());
        assert!(Gtids::of_file(Fields(&[1, 0, 0, 0, 0, 0, 0, 1]), false).is_none(), "tags");
        assert!(Gtids::of_file(Fields(&[1, 0, 0, 0, 0, 0, 0, 0, 7]), false).is_none(), "too short");
    }
}
