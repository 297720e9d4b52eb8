//! The event bus: change events in the order of their commits, kept for three days of the sandbox's own time, and the replay ids that tell where a
//! subscriber stands.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::super::clock::DAY_MS;

/// How long events are kept.
const KEPT_MS: i64 = 3 * DAY_MS;
/// How far two replay ids are apart at most: nobody may compute the next one.
const STEP_MAX: u64 = 7;
/// How long a subscription hears nothing at most, as documented.
const KEEPALIVE_MS: u64 = 270_000;

/// An event as it is delivered.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Event {
    /// The object.
    pub(in crate::sandbox) object: String,
    /// The event's own id.
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) schema_id: String,
    /// Avro.
    pub(in crate::sandbox) payload: Vec<u8>,
    /// For rules of faults: the header as JSON.
    pub(in crate::sandbox) told: String,
}

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Start {
    Latest,
    Earliest,
    /// Behind this replay id.
    After(Vec<u8>),
}

/// All events that are kept.
#[derive(Debug)]
pub(in crate::sandbox) struct Bus {
    /// By replay id, with the time of the commit.
    events: BTreeMap<u64, (i64, Event)>,
    /// Replay ids that keep-alives told, and when.
    told: BTreeMap<u64, i64>,
    newest: u64,
    made: u64,
    /// Milliseconds of real time after which a subscription that hears nothing is told so.
    pub(in crate::sandbox) keepalive_ms: u64,
    news: watch::Sender<u64>,
}

impl Default for Bus {
    fn default() -> Self {
        let (events, told, news) = (BTreeMap::new(), BTreeMap::new(), watch::Sender::new(0));
        Self { events, told, newest: 1000, made: 0, keepalive_ms: KEEPALIVE_MS, news }
    }
}

impl Bus {
    /// Takes an event that was committed at this time.
    pub(in crate::sandbox) fn publish(&mut self, event: Event, ms: i64) {
        let replay = self.next();
        self.events.insert(replay, (ms, event));
        self.news.send_replace(replay);
    }

    fn next(&mut self) -> u64 {
        self.made += 1;
        self.newest += 1 + (self.made * 5) % STEP_MAX;
        self.newest
    }

    /// Tells of every event from now on.
    pub(in crate::sandbox) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Forgets what is older than three days.
    pub(in crate::sandbox) fn forget(&mut self, now_ms: i64) {
        self.events.retain(|_, (ms, _)| *ms >= now_ms - KEPT_MS);
        self.told.retain(|_, ms| *ms >= now_ms - KEPT_MS);
    }

    /// Forgets everything, so that what records began with is no news.
    pub(in crate::sandbox) fn clear(&mut self) {
        self.events.clear();
    }

    /// The place behind which a subscription goes on; `None` for a replay id that is unknown, or forgotten.
    pub(in crate::sandbox) fn place(&self, start: &Start) -> Option<u64> {
        match start {
            Start::Latest => Some(self.newest),
            Start::Earliest => Some(0),
            Start::After(id) => {
                let replay = u64::from_be_bytes(id.as_slice().try_into().ok()?);
                (self.events.contains_key(&replay) || self.told.contains_key(&replay)).then_some(replay)
            }
        }
    }

    /// The first event of these objects behind a place, and its own place; all objects where none is named.
    pub(in crate::sandbox) fn after(&self, place: u64, object: Option<&str>) -> Option<(u64, &Event)> {
        let behind = self.events.range(place.saturating_add(1)..);
        let mut wanted = behind.filter(|(_, (_, event))| object.is_none_or(|object| event.object == object));
        wanted.next().map(|(replay, (_, event))| (*replay, event))
    }

    /// The replay id that a keep-alive tells: behind every event there is.
    pub(in crate::sandbox) fn latest(&mut self, now_ms: i64) -> u64 {
        let replay = self.next();
        self.told.insert(replay, now_ms);
        replay
    }
}

/// A replay id as it is sent.
pub(in crate::sandbox) fn replay_id(replay: u64) -> Vec<u8> {
    replay.to_be_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str) -> Event {
        let text = String::new;
        Event { object: object.to_owned(), id: text(), schema_id: text(), payload: Vec::new(), told: text() }
    }

    #[test]
    fn a_subscription_goes_on_where_it_stood_for_three_days() {
        let mut bus = Bus::default();
        assert_eq!(bus.after(bus.place(&Start::Earliest).unwrap(), None).map(|(replay, _)| replay), None);
        bus.publish(event("Account"), 0);
        bus.publish(event("Contact"), DAY_MS);
        let (first, _) = bus.after(0, None).unwrap();
        let (second, event) = bus.after(first, None).unwrap();
        assert_eq!(event.object, "Contact");
        assert_eq!(bus.after(0, Some("Contact")).unwrap().0, second);
        assert_eq!(bus.place(&Start::After(replay_id(first))), Some(first));
        assert_eq!(bus.after(bus.place(&Start::Latest).unwrap(), None).map(|(replay, _)| replay), None);
        bus.forget(KEPT_MS + 1);
        assert_eq!(bus.place(&Start::After(replay_id(first))), None, "it is forgotten");
        assert_eq!(bus.place(&Start::After(replay_id(second))), Some(second));
        assert_eq!(bus.place(&Start::After(b"not one".to_vec())), None);
        assert_eq!(bus.place(&Start::After(replay_id(second + 1))), None, "nobody was told that one");
    }

    #[test]
    fn what_a_keepalive_tells_can_be_gone_on_from() {
        let mut bus = Bus::default();
        let told = bus.latest(5);
        bus.publish(event("Account"), 6);
        assert_eq!(bus.place(&Start::After(replay_id(told))), Some(told));
        assert!(bus.after(told, None).is_some());
    }
}
