//! What a crash left open: writes that were on record, and may or may not have been done (row 6). The systems say which; what was done is
//! agreed before anything else is decided, so that whatever people did since is told from it (docs/decisions/0006).

use super::Pipeline;
use std::collections::{HashMap, HashSet};

use super::apply::{key_names, key_of};
use crate::change::End;
use crate::connector::Mark;
use crate::connector::marks::fates;
use crate::error::{Result, SyncError};
use crate::record::{Key, Record};
use crate::state::intent::Open;
use crate::state::{Commit, Intended, WriteOp, Writing};

/// What became of a write: `None` where it was not done, else the fields that the system stored otherwise than it was asked to.
type Fate = Option<Option<Record>>;

impl Pipeline {
    /// Brings the state to what was really done before a crash.
    ///
    /// # Errors
    /// As `process`.
    pub async fn recover(&self) -> Result<()> {
        for open in self.state.intentions(&self.binding.pair).await? {
            let fates = self.fates(&open).await?;
            let commit = self.done(&open, fates);
            self.state.commit(&self.binding.pair, &commit).await?;
        }
        Ok(())
    }

    async fn fates(&self, open: &Open) -> Result<Vec<Fate>> {
        let writes = &open.intention.writes;
        let target = self.targets.get(open.intention.end);
        match target.marks(&open.run, open.number).await? {
            Some(marks) => fates(&marks, writes.len()).map_err(|error| SyncError::internal(error.to_string())),
            None => self.compared(open).await,
        }
    }

    /// Where a system keeps no marks, a write counts as done where what it wrote is there.
    async fn compared(&self, open: &Open) -> Result<Vec<Fate>> {
        let (end, writes) = (open.intention.end, &open.intention.writes);
        let mut made = self.made(open).await?;
        let keys: Vec<Key> = writes.iter().filter_map(|write| write.keys.get(end).clone()).collect();
        let mut images = self.targets.get(end).fetch(&keys).await?.into_iter();
        let mut fate = |(place, write): (usize, &Intended<i64>)| -> Fate {
            if write.keys.get(end).is_none() {
                return made.remove(&place).map(Some);
            }
            is_there(write, end, images.next().flatten().as_ref()).then_some(None)
        };
        Ok(writes.iter().enumerate().map(&mut fate).collect())
    }

    /// What came of creates whose key the system makes, by their places: records that the system takes for theirs and that no link has.
    async fn made(&self, open: &Open) -> Result<HashMap<usize, Record>> {
        let end = open.intention.end;
        let creates: Vec<(usize, Record)> = (0..)
            .zip(&open.intention.writes)
            .filter(|(_, write)| write.op == WriteOp::Create && write.keys.get(end).is_none())
            .filter_map(|(place, write)| Some((place, write.base.as_ref()?.get(end).clone())))
            .collect();
        if creates.is_empty() {
            return Ok(HashMap::new());
        }
        let of = Mark { run: &open.run, number: open.number, since: open.number, first: 0 };
        let found = self.targets.get(end).made(of, &creates).await?;
        let mut taken: HashSet<Key> = self.taken(end, &found).await?.into_keys().collect();
        let mut made = HashMap::new();
        for ((place, _), candidates) in creates.into_iter().zip(found) {
            let mut free = candidates
                .into_iter()
                .filter_map(|record| Some((key_of(&self.binding, end, &record)?, record)))
                .filter(|(key, _)| !taken.contains(key));
            if let Some((key, record)) = free.next() {
                taken.insert(key);
                made.insert(place, record);
            }
        }
        Ok(made)
    }

    /// What is committed of an intention.
    fn done(&self, open: &Open, fates: Vec<Fate>) -> Commit {
        let end = open.intention.end;
        let mut commit = Commit {
            end: Some(end.other()),
            plugins: open.intention.plugins.clone(),
            intentions: vec![open.number],
            ..Commit::default()
        };
        for (write, fate) in open.intention.writes.iter().zip(fates) {
            let Some(otherwise) = fate else {
                commit.void.extend(&write.conflicts);
                continue;
            };
            let write = self.as_stored(end, write, otherwise.as_ref());
            let keys = crate::change::Ends::from_fn(|end| write.keys.get(end).as_ref());
            let fields = write.fields.as_ref().map(|(layout, set)| (layout, set.as_slice()));
            commit.history.push(Writing { op: write.op, end, keys, changed_at: write.changed_at, fields });
            commit.counts.conflicts += write.conflicts.len() as u64;
            commit.settled.extend(&write.conflicts);
            match end {
                End::Source => commit.counts.written_source += 1,
                End::Target => commit.counts.written_target += 1,
            }
            // A later write of the same link follows from this one.
            commit.links.extend(write.link());
        }
        commit
    }

    /// A write as the system carried it out.
    fn as_stored(&self, end: End, write: &Intended<i64>, otherwise: Option<&Record>) -> Intended<i64> {
        let mut write = write.clone();
        let stored = write.base.as_mut().map(|base| base.get_mut(end));
        if let (Some(stored), Some(otherwise)) = (stored, otherwise) {
            otherwise.iter().for_each(|(name, value)| stored.set(name, value.clone()));
            let names: Vec<&str> = key_names(&self.binding, end).collect();
            if let (WriteOp::Create, Some(key)) = (write.op, stored.key(&names)) {
                *write.keys.get_mut(end) = Some(key);
            }
        }
        write
    }
}

/// Whether what is there is what a write would have left.
fn is_there(write: &Intended<i64>, end: End, now: Option<&Record>) -> bool {
    let Some(now) = now else { return write.op == WriteOp::Delete };
    let wanted = write.base.as_ref().map(|base| base.get(end));
    let is_set = |name: &str| match &write.fields {
        Some((layout, set)) => layout.iter().zip(set).any(|(field, set)| *set && **field == *name),
        None => true,
    };
    let is = |wanted: &Record| wanted.iter().all(|(name, value)| !is_set(name) || now.get(name) == Some(value));
    write.op != WriteOp::Delete && wanted.is_some_and(is)
}
