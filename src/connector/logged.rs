//! What the readers of systems' logs have in common (layer 4): what can happen to a row there, when records last changed, and how long is waited.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::watch;

use crate::record::Key;

/// How long a transaction that is in the log already is waited for until it is visible, at once.
pub(super) const VISIBLE_TIMEOUT: Duration = Duration::from_millis(200);
pub(super) const VISIBLE_POLL: Duration = Duration::from_millis(1);
/// An idle reader looks this often, so that the server may forget what it wrote for others; and whether all is as it was made.
pub(super) const IDLE_LOOK: Duration = Duration::from_secs(10);

/// See `Source::wait`: until there is news of the stream, or for a while where none runs. Either way the caller looks.
pub(super) async fn wait<P>(
    progress: Option<&mut watch::Receiver<P>>,
    timeout: Duration,
    is_news: impl FnMut(&P) -> bool,
) {
    let timeout = timeout.min(IDLE_LOOK);
    match progress {
        Some(progress) => {
            let news = async { progress.wait_for(is_news).await.is_ok() };
            tokio::time::timeout(timeout, news).await.unwrap_or_default();
        }
        None => tokio::time::sleep(timeout.min(VISIBLE_TIMEOUT)).await,
    }
}

/// What happened to a row, or to all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// It was inserted or updated.
    Upsert(Key),
    /// It was deleted.
    Delete(Key),
    /// The table was emptied.
    Truncated,
    /// The log cannot be followed any further.
    Lost(&'static str),
}

impl What {
    /// The record, where it is one.
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Upsert(key) | Self::Delete(key) => Some(key),
            Self::Truncated | Self::Lost(_) => None,
        }
    }
}

/// When records were changed by others, of what is not confirmed. `P` is a place in the log, in its order. By the hash of the key: a backlog of millions is
/// some 50 bytes each.
pub(super) struct Times<P> {
    hasher: RandomState,
    last: HashMap<u64, (P, i64)>,
    /// In the order of the log: what can be forgotten first.
    order: VecDeque<(P, u64)>,
}

// By hand, as a derived one would want a place that is a default.
impl<P> Default for Times<P> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), last: HashMap::default(), order: VecDeque::default() }
    }
}

impl<P: Copy + Ord> Times<P> {
    /// Notes a change, of a record or of all.
    pub(super) fn note(&mut self, what: &What, place: P, at: i64) {
        if let Some(key) = what.key() {
            let hash = self.hasher.hash_one(key);
            self.last.insert(hash, (place, at));
            self.order.push_back((place, hash));
        }
    }

    /// When each of these records last changed: microseconds since 1970.
    pub(super) fn of(&self, keys: &[Key]) -> Vec<Option<i64>> {
        keys.iter().map(|key| self.last(key).map(|(_, at)| at)).collect()
    }

    /// The last that was noted of a record.
    pub(super) fn last(&self, key: &Key) -> Option<(P, i64)> {
        if self.last.is_empty() { None } else { self.last.get(&self.hasher.hash_one(key)).copied() }
    }

    /// Nobody asks for what came before this any more.
    pub(super) fn forget(&mut self, before: P) {
        while let Some((place, hash)) = self.order.front().copied().filter(|(place, _)| *place < before) {
            self.order.pop_front();
            if self.last.get(&hash).is_some_and(|(last, _)| *last == place) {
                self.last.remove(&hash);
            }
        }
    }
}
