//! A subscription that is kept up (layer 4): a task of its own subscribes, asks for more as events are taken, and begins again where the stream
//! breaks off: from behind what it delivered last.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::auth::Token;
use super::client::{Client, Failure, Subscription};
use super::messages::{CUSTOM, ConsumerEvent, FetchRequest, FetchResponse, LATEST};
use crate::error::{Disposition, ErrorKind, SyncError};

/// Events that are asked for at a time: the most that the API takes.
const REQUESTED: i32 = 100;
/// The API says that it lives within 270 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What the stream tells.
#[derive(Debug)]
pub(super) enum Told {
    /// These events, and where to go on from.
    Events { events: Vec<ConsumerEvent>, replay: Vec<u8> },
    /// It broke off, and is begun again.
    Down(SyncError),
    /// The place to go on from is not known any more; from now on it delivers what comes next.
    Lost,
    /// It is given up: only a person can help.
    Refused(SyncError),
}

/// A running subscription; ended when dropped.
pub(super) struct Stream {
    told: mpsc::Receiver<Told>,
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stream {
    /// Begins behind a replay id, or with what comes next.
    pub(super) fn begin(client: Arc<Client>, replay: Option<Vec<u8>>) -> Self {
        let (sender, told) = mpsc::channel(1);
        let keeper = Keeper { client, replay, ended: None, sender };
        Self { told, task: tokio::spawn(keeper.run()) }
    }

    /// What it tells next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Told {
        match self.told.recv().await {
            Some(told) => told,
            None => Told::Refused(SyncError::internal("the subscription's task has ended")),
        }
    }

    /// What it has told already.
    pub(super) fn ready(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }
}

struct Keeper {
    client: Arc<Client>,
    replay: Option<Vec<u8>>,
    /// A session that has ended.
    ended: Option<Token>,
    sender: mpsc::Sender<Told>,
}

/// Nobody listens any more.
struct Unheard;

impl Keeper {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.follow(&mut pause).await {
                Ok(failure) => failure,
                Err(Unheard) => return,
            };
            let told = match failure {
                // The new session is asked for at once; where it is refused as well, that is an outage.
                Failure::Session(token, error) => {
                    if self.ended.replace(*token).is_none() {
                        continue;
                    }
                    Told::Down(error)
                }
                Failure::ReplayId => {
                    self.replay = None;
                    Told::Lost
                }
                Failure::Other(error) if error.disposition() == Disposition::Retry => Told::Down(error),
                Failure::Other(error) => {
                    let _told = self.sender.send(Told::Refused(error)).await;
                    return;
                }
            };
            let wait = if let Told::Down(error) = &told { error.retry_after.unwrap_or(pause) } else { pause };
            if self.sender.send(told).await.is_err() {
                return;
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Subscribes, and delivers until that breaks off.
    async fn follow(&mut self, pause: &mut Duration) -> Result<Failure, Unheard> {
        let topic_name = self.client.topic.clone();
        let (replay_preset, replay_id) = self.replay.clone().map_or((LATEST, Vec::new()), |id| (CUSTOM, id));
        let first = FetchRequest { topic_name, replay_preset, replay_id, num_requested: REQUESTED };
        let begun = tokio::time::timeout(SILENCE_MAX, self.client.subscribe(self.ended.as_ref(), first)).await;
        let mut subscription = match begun {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(failure)) => return Ok(failure),
            Err(_) => return Ok(self.silent()),
        };
        loop {
            let response = match tokio::time::timeout(SILENCE_MAX, subscription.responses.message()).await {
                Err(_) => return Ok(self.silent()),
                Ok(Err(status)) => {
                    return Ok(self.client.failed("reading change events", &subscription.token, &status));
                }
                Ok(Ok(None)) => return Ok(Failure::Other(self.broken("the stream has ended"))),
                Ok(Ok(Some(response))) => response,
            };
            (*pause, self.ended) = (FIRST_PAUSE, None);
            let pending = response.pending_num_requested;
            self.deliver(response).await?;
            if pending <= REQUESTED / 2 && self.ask_for_more(&subscription, REQUESTED - pending.max(0)).await.is_err() {
                return Ok(Failure::Other(self.broken("the stream takes no requests any more")));
            }
        }
    }

    async fn deliver(&mut self, response: FetchResponse) -> Result<(), Unheard> {
        let FetchResponse { events, latest_replay_id, .. } = response;
        let replay = events.last().map_or(latest_replay_id, |last| last.replay_id.clone());
        if replay.is_empty() {
            return Ok(());
        }
        self.replay = Some(replay.clone());
        self.sender.send(Told::Events { events, replay }).await.map_err(|_| Unheard)
    }

    async fn ask_for_more(&self, subscription: &Subscription, num_requested: i32) -> Result<(), Unheard> {
        let topic_name = self.client.topic.clone();
        let request = FetchRequest { topic_name, replay_preset: LATEST, replay_id: Vec::new(), num_requested };
        subscription.more.send(request).await.map_err(|_| Unheard)
    }

    fn silent(&self) -> Failure {
        Failure::Other(self.broken(&format!("no sign of life within {} s", SILENCE_MAX.as_secs())))
    }

    fn broken(&self, text: &str) -> SyncError {
        let text = format!("reading change events: {text}");
        self.client.place().error(ErrorKind::Unavailable, "salesforce.unavailable", text)
    }
}
