//! Groups of events (layer 4): what of a transaction becomes changes, once it is decided, and how far that is.

use std::sync::Arc;

use super::{Follower, Group, PREPARED_MAX, Prepared, WHOLE_MAX};
use crate::connector::logged::What;
use crate::connector::mysql::binlog::events::Head;
use crate::connector::mysql::binlog::gtid::{Gtid, Known};
use crate::connector::mysql::binlog::position::{LogPosition, Place};
use crate::connector::mysql::binlog::stream::Entry;

impl Follower {
    pub(super) fn change(&mut self, head: &Head, what: What) {
        if self.group.had {
            return;
        }
        let group = self.group.begin.get_or_insert_with(|| self.spot.clone()).clone();
        let place = Place { group, index: self.group.count };
        self.group.count += 1;
        self.group.entries.push((place, i64::from(head.at) * 1_000_000, what));
        let kept = self.group.entries.len();
        if self.group.prepares && kept > PREPARED_MAX {
            let (place, at) = (Place { group: self.spot.clone(), index: 0 }, 0);
            let why = "a transaction that is prepared for two systems (XA) changes more rows than are kept until it is decided";
            self.group.entries = vec![(place, at, What::Lost(why))];
            self.group.prepares = false;
        } else if !self.group.prepares && kept >= WHOLE_MAX {
            self.group.begun = true;
            self.hand_on(None);
        }
    }

    fn hand_on(&mut self, end: Option<&LogPosition>) {
        let entries = std::mem::take(&mut self.group.entries);
        let last = entries.len();
        for (number, (place, at, what)) in entries.into_iter().enumerate() {
            let (spot, gtid) = (place.group.clone(), self.group.known.clone());
            let within = || LogPosition { spot, index: place.index + 1, gtid, ..self.reached.clone() };
            let next = end.filter(|_| number + 1 == last).cloned().unwrap_or_else(within);
            self.ready.push(Entry { place, at, what, next });
        }
    }

    pub(super) fn commit(&mut self) {
        self.pass();
        self.reach();
        if self.group.begun || self.group.ours != Some(self.group.rows) {
            let end = self.reached.clone();
            self.hand_on(Some(&end));
        }
        self.group = Group::default();
    }

    pub(super) fn prepare(&mut self, name: String) {
        self.pass();
        let changes: Vec<What> = std::mem::take(&mut self.group.entries).into_iter().map(|(_, _, what)| what).collect();
        if let Some(began) = self.group.begin.take().filter(|_| !changes.is_empty()) {
            self.prepared.insert(name, Prepared { began, changes });
        }
        self.group = Group::default();
        self.reach();
    }

    /// Takes note of the group's id, and looks whether it is the one that is sought.
    fn pass(&mut self) {
        if self.group.begin.is_none() {
            return;
        }
        let (gtid, at) = (self.group.gtid, self.group.began.unwrap_or(self.group.at));
        let is_sought = self.sought.is_some_and(|(sought, _)| gtid == Some(sought));
        if is_sought || self.sought.zip(gtid).is_some_and(|((sought, _), gtid)| is_beyond(gtid, sought)) {
            let known = self.sought.take().is_some_and(|(_, time)| is_sought && time == at);
            if !known {
                (self.group.had, self.group.ours) = (false, None);
                let why = "the server does not have the last transaction that was read from another, or has another of that number";
                self.change(&Head::of(at), What::Lost(why));
            }
        }
        let before = self.gtids.take().map(|known| known.had());
        self.gtids = before.zip(gtid).map(|(before, gtid)| Arc::new(Known { before, last: Some((gtid, at)) }));
    }

    pub(super) fn decide(&mut self, head: &Head, name: &str, commit: bool) {
        let Some(prepared) = self.prepared.remove(name).filter(|_| commit) else { return };
        for what in prepared.changes {
            self.change(head, what);
        }
    }
}

/// Whether an id of MariaDB comes behind another one, or in its place.
fn is_beyond(gtid: Gtid, sought: Gtid) -> bool {
    match (gtid, sought) {
        (Gtid::InDomain(domain, _, number), Gtid::InDomain(of, _, other)) => domain == of && number >= other,
        (Gtid::Numbered(..) | Gtid::InDomain(..), _) => false,
    }
}
