//! The source half by change data capture (layer 4): the Pub/Sub API says which records have changed, as soon as they have.
//!
//! A position is a replay id and, as the fallback, the cursor of polling (`../polling`), which moves along with the commit times of the events. The
//! cursor is gone by in a *pass* wherever the stream cannot be trusted alone: when the source begins, until a new subscription has told its
//! first replay id (it may take minutes, and what happened before is in no event), while the stream is down, after a replay id was lost, and, from
//! the beginning of the object, after an event that names no records. So nothing depends on when exactly a subscription began.
//!
//! `--once` never waits, and so it never subscribes: there it is polling.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::collection::Collection;
use super::polling::{PollSource, Spot};
use super::target::capabilities;
use crate::change::{Change, ChangeBatch, Position};
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result};

mod avro;
mod client;
mod event;
mod messages;
mod stream;

use client::Client;
use event::{ChangeEvent, Said};
use messages::ConsumerEvent;
use stream::{Stream, Told};

/// Where a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Everything before it is known.
    poll: Spot,
    /// Behind the last event; none before the first subscription has told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    /// A pass is not over: changes before the replay id may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passing: bool,
}

/// Follows an object's change events.
pub(super) struct CdcSource {
    collection: Arc<Collection>,
    client: Arc<Client>,
    poll: PollSource,
    /// The position handed out last.
    issued: Option<Position>,
    stream: Option<Stream>,
    /// What the stream has told and nobody has taken.
    told: VecDeque<Told>,
    /// A pass is to be made before the stream is trusted alone.
    pass: bool,
    /// The stream is behind a replay id that we know, and has not broken off.
    up: bool,
    /// Somebody waits for changes, this long at a time.
    interval: Option<Duration>,
    /// When the next pass is due while the stream is not up.
    due: Instant,
    /// What people should know: that the place was lost, or that the stream is down.
    lost: Option<String>,
    down: Option<String>,
}

impl CdcSource {
    /// A source of an opened object.
    ///
    /// # Errors
    /// Where the address of the Pub/Sub API is none.
    pub(super) fn new(collection: &Arc<Collection>) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Client::new(&collection.org, &collection.place, &collection.object.name)?),
            poll: PollSource::new(Arc::clone(collection)),
            collection: Arc::clone(collection),
            issued: None,
            stream: None,
            told: VecDeque::new(),
            pass: true,
            up: false,
            interval: None,
            due: Instant::now(),
            lost: None,
            down: None,
        })
    }

    /// Begins anew where a reader does not go on from the position handed out last.
    fn go_on_from(&mut self, after: &Position) -> Result<Place> {
        let place: Place = serde_json::from_str(&after.0).map_err(|_| {
            let text = "the stored position is not one of this connector; load the pair again (tidelock resync)";
            self.collection.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", text)
        })?;
        if self.issued.as_ref() != Some(after) {
            self.poll.forget();
            self.told.clear();
            (self.stream, self.pass, self.up) = (None, true, false);
            self.issued = Some(after.clone());
        }
        Ok(place)
    }

    fn batch(&mut self, changes: Vec<Change>, place: &Place, more: bool) -> ChangeBatch {
        let through = Position(serde_json::to_string(place).unwrap_or_default());
        self.issued = Some(through.clone());
        ChangeBatch { changes, through, more }
    }

    fn replay(place: &Place) -> Option<Vec<u8>> {
        STANDARD_NO_PAD.decode(place.replay.as_ref()?).ok()
    }

    /// Whether records are to be looked for by their stamps now.
    fn is_pass_due(&self, place: &Place) -> bool {
        let now = Instant::now();
        let alone = !self.up && self.due <= now;
        place.passing || self.pass || self.interval.is_none() || alone || self.poll.sweep_due() <= now
    }

    /// A step of a pass.
    async fn look(&mut self, mut place: Place, max: usize) -> Result<ChangeBatch> {
        self.pass = false;
        let (changes, more) = self.poll.step(&mut place.poll, max).await?;
        place.passing = more;
        if !more {
            self.due = Instant::now() + self.interval.unwrap_or_default();
        }
        Ok(self.batch(changes, &place, more))
    }

    /// Takes in what the stream told; the events of one response at a time.
    async fn take(&mut self, mut place: Place) -> Result<ChangeBatch> {
        match self.told.pop_front() {
            None => Ok(self.batch(Vec::new(), &place, false)),
            Some(Told::Refused(error)) => Err(error),
            Some(Told::Down(error)) => {
                let text = format!("change events are interrupted; records are polled until they come again: {error}");
                if self.down.replace(text.clone()).is_none() {
                    tracing::warn!(code = error.code, "{text}");
                    self.due = Instant::now();
                }
                self.up = false;
                Ok(self.batch(Vec::new(), &place, !self.told.is_empty()))
            }
            Some(Told::Lost) => {
                let text = format!(
                    "{}: the place in the change events is not known any more (they are kept for three days): what has changed since is looked for \
                     by its stamps, and deletes by the org's list of them",
                    self.collection.place
                );
                tracing::warn!(code = "salesforce.replay_lost", "{text}");
                self.lost = Some(text);
                (place.replay, place.passing, self.up) = (None, true, false);
                Ok(self.batch(Vec::new(), &place, true))
            }
            Some(Told::Events { events, replay }) if !self.up => {
                (self.up, self.down) = (true, None);
                if place.replay.is_none() {
                    // What happened before this subscription began is in none of its events.
                    place.replay = Some(STANDARD_NO_PAD.encode(&replay));
                    place.passing = true;
                }
                self.told.push_front(Told::Events { events, replay });
                Ok(self.batch(Vec::new(), &place, true))
            }
            Some(Told::Events { events, replay }) => {
                let changes = self.read(&mut place, events).await?;
                place.replay = Some(STANDARD_NO_PAD.encode(replay));
                let more = place.passing || !self.told.is_empty();
                Ok(self.batch(changes, &place, more))
            }
        }
    }

    /// The changes that these events name.
    async fn read(&mut self, place: &mut Place, events: Vec<ConsumerEvent>) -> Result<Vec<Change>> {
        let opened: Vec<&str> = self.collection.layout.iter().map(|name| &**name).collect();
        let mut changes = Vec::new();
        for event in events.into_iter().filter_map(|event| event.event) {
            let schema = self.client.schema(&event.schema_id).await?;
            let read = ChangeEvent::read(&schema, &event.payload).map_err(|error| self.client.garbled(&error))?;
            let stamp = read.at - read.at.rem_euclid(1_000_000);
            if read.said == Said::Anything {
                tracing::warn!("{}: a change event names no records: all of them are compared", self.collection.place);
                (place.poll.newest, place.passing) = (None, true);
            } else if !place.passing {
                place.poll.newest = place.poll.newest.max(Some(stamp));
            }
            // What the filter let through before is for `fetch` to say.
            if self.collection.filter.is_some() || read.concerns(&schema, &opened) {
                changes.extend(read.changes());
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl Source for CdcSource {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.collection)
    }

    async fn prepare(&mut self) -> Result<String> {
        self.client.check().await?;
        let (organization, _) = self.collection.org.identity().await?;
        Ok(format!("cdc:{}:{organization}", self.client.topic))
    }

    fn notice(&self) -> Option<String> {
        self.down.clone().or_else(|| self.lost.clone())
    }

    async fn remove(&mut self) -> Result<()> {
        Ok(())
    }

    async fn head(&mut self) -> Result<Position> {
        let place = Place { poll: self.poll.begin().await?, replay: None, passing: false };
        Ok(self.batch(Vec::new(), &place, false).through)
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let place = self.go_on_from(after)?;
        if self.interval.is_some() {
            let begin = || Stream::begin(Arc::clone(&self.client), Self::replay(&place));
            let stream = self.stream.get_or_insert_with(begin);
            if self.told.is_empty() {
                self.told.extend(stream.ready());
            }
        }
        if self.is_pass_due(&place) { self.look(place, max).await } else { self.take(place).await }
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        // The first wait only says that somebody follows: the stream begins with the next batch.
        let first = self.interval.replace(timeout).is_none();
        if first || !self.told.is_empty() {
            return Ok(());
        }
        let due = if self.up { self.poll.sweep_due() } else { self.due.min(self.poll.sweep_due()) };
        let due = due.min(Instant::now() + timeout);
        match &mut self.stream {
            Some(stream) => tokio::select! {
                told = stream.next() => self.told.push_back(told),
                () = tokio::time::sleep_until(due) => {}
            },
            None => tokio::time::sleep_until(due).await,
        }
        Ok(())
    }

    async fn acknowledge(&mut self, _through: &Position) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let text = r#"{"poll":{"batch":3,"newest":1000000,"swept":5},"replay":"AAE","passing":true}"#;
        let place: Place = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&place).unwrap(), text);
        assert_eq!(CdcSource::replay(&place), Some(vec![0, 1]));
        let fresh: Place = serde_json::from_str(r#"{"poll":{"batch":0,"newest":null,"swept":null}}"#).unwrap();
        assert!(!fresh.passing && CdcSource::replay(&fresh).is_none());
    }
}
