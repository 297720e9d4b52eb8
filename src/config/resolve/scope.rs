//! Where a key of a sync may stand (layer 2): at the mapping, the system, the top; the nearest wins.

use crate::config::raw::{Place, SyncKeys};

/// The objects in which a sync's keys may stand, nearest first.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    levels: Vec<(Place, &'a SyncKeys)>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(levels: Vec<(Place, &'a SyncKeys)>) -> Self {
        Self { levels }
    }

    /// What the sync itself says, and not an object around it.
    pub(super) fn own(&self) -> Option<(Place, &'a SyncKeys)> {
        self.levels.first().copied()
    }

    /// The nearest value, and the object in which it stands.
    pub(super) fn find<T>(&self, get: impl Fn(&'a SyncKeys) -> Option<T>) -> Option<(Place, T)> {
        self.levels.iter().find_map(|(place, keys)| Some((*place, get(keys)?)))
    }
}
