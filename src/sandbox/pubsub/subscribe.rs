//! `Subscribe`: a stream that delivers as many events as were asked for, tells that it lives where there are none, and ends with the session.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::poll_fn;
use http::HeaderMap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::server::StreamingService;
use tonic::{Code, Request, Response, Status, Streaming};

use super::super::events::{self, bus};
use super::super::exchange;
use super::super::faults::{Fault, Struck};
use super::super::org::Org;
use super::messages::{ConsumerEvent, FetchRequest, FetchResponse, ProducerEvent};
use super::{Shared, authorise, corrupted, failed_by, failure, lock, strike, topic};
use bus::Start;

/// Events that may be asked for at a time.
const REQUESTED_MAX: i32 = 100;

/// The call.
pub(super) struct Subscribe {
    pub(super) org: Shared,
    /// Ends the connection without a word.
    pub(super) cut: CancellationToken,
}

type Responses = Pin<Box<dyn Stream<Item = Result<FetchResponse, Status>> + Send>>;

impl StreamingService<FetchRequest> for Subscribe {
    type Response = FetchResponse;
    type ResponseStream = Responses;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Responses>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<FetchRequest>>) -> Self::Future {
        let (org, cut) = (Shared::clone(&self.org), self.cut.clone());
        Box::pin(async move {
            let (metadata, _, requests) = request.into_parts();
            authorise(&mut lock(&org), &metadata)?;
            let (sender, mut responses) = mpsc::channel(1);
            tokio::spawn(async move {
                let told = sender.clone();
                if let Err(status) = follow(org, metadata, requests, sender, cut).await {
                    // Nobody listens any more: nobody is to be told.
                    let _told = told.send(Err(status)).await;
                }
            });
            let responses: Responses = Box::pin(poll_fn(move |context| responses.poll_recv(context)));
            Ok(Response::new(responses))
        })
    }
}

/// A subscription that goes on.
struct Subscription {
    name: String,
    /// The object whose events it wants; none for all.
    object: Option<String>,
    metadata: MetadataMap,
    /// Behind the last event that was delivered.
    place: u64,
    /// Events that were asked for and not delivered yet.
    pending: i32,
    /// What strikes the next event, and the event that a fault has struck already.
    struck: Option<Struck>,
    passed: Option<u64>,
}

/// What comes next.
enum Next {
    Respond(FetchResponse),
    Wait,
    Delay(u64),
    Cut,
}

async fn follow(
    org: Shared,
    metadata: MetadataMap,
    mut requests: Streaming<FetchRequest>,
    responses: mpsc::Sender<Result<FetchResponse, Status>>,
    cut: CancellationToken,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else { return Ok(()) };
    let (mut subscription, mut news) = begin(&mut lock(&org), metadata, first)?;
    let mut open = true;
    loop {
        let (next, keepalive_ms) = {
            let mut org = lock(&org);
            (subscription.next(&mut org)?, org.bus.keepalive_ms)
        };
        match next {
            Next::Respond(response) => {
                if responses.send(Ok(response)).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            Next::Delay(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                continue;
            }
            Next::Cut => {
                cut.cancel();
                return Ok(());
            }
            Next::Wait if !open => return Ok(()),
            Next::Wait => {}
        }
        tokio::select! {
            request = requests.message(), if open => match request? {
                Some(request) => subscription.more(&request)?,
                None => open = false,
            },
            _ = news.changed() => {}
            () = responses.closed() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(keepalive_ms)) => {
                let alive = subscription.alive(&mut lock(&org))?;
                if responses.send(Ok(alive)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

fn begin(
    org: &mut Org,
    metadata: MetadataMap,
    first: FetchRequest,
) -> Result<(Subscription, watch::Receiver<u64>), Status> {
    let struck = strike(org, "Subscribe", &first.topic_name);
    if let Some(status) = failed_by(org, &struck) {
        return Err(status);
    }
    let object = topic(org, &first.topic_name)?;
    let now_ms = org.clock.now_ms();
    org.bus.forget(now_ms);
    let start = match first.replay_preset {
        0 => Start::Latest,
        1 => Start::Earliest,
        2 if !first.replay_id.is_empty() => Start::After(first.replay_id.clone()),
        _ => {
            let message = "The Replay ID validation failed. Ensure that the Replay ID is given.";
            return Err(failure(Code::InvalidArgument, "subscription.fetch.replayid.validation.failed", message));
        }
    };
    let place = org.bus.place(&start).ok_or_else(corrupted)?;
    let mut subscription = Subscription {
        name: first.topic_name.clone(),
        object,
        metadata,
        place,
        pending: 0,
        struck: None,
        passed: None,
    };
    subscription.more(&first)?;
    Ok((subscription, org.bus.news()))
}

impl Subscription {
    /// Takes a request for more.
    fn more(&mut self, request: &FetchRequest) -> Result<(), Status> {
        if ![self.name.as_str(), ""].contains(&request.topic_name.as_str()) {
            let message = "The topic name differs from that of the first request.";
            return Err(failure(Code::InvalidArgument, "subscription.topic.changed", message));
        }
        if !(1..=REQUESTED_MAX).contains(&request.num_requested) {
            let message = "The number of requested events is between 1 and 100.";
            return Err(failure(Code::InvalidArgument, "subscription.fetch.requested.events.invalid", message));
        }
        self.pending = self.pending.saturating_add(request.num_requested);
        Ok(())
    }

    /// The events that may be delivered now, up to the first that a fault strikes.
    fn next(&mut self, org: &mut Org) -> Result<Next, Status> {
        if let Some(struck) = self.struck.take() {
            return self.strike(org, &struck);
        }
        let mut events = Vec::new();
        let Org { bus, faults, .. } = org;
        let (mut place, mut pending) = (self.place, self.pending);
        while pending > 0
            && let Some((replay, event)) = bus.after(place, self.object.as_deref())
        {
            let (path, told) = (events::channel(&event.object), event.told.clone().into_bytes());
            let struck = faults.strike(&exchange::Request::new("EVENT", &path, HeaderMap::new(), told));
            if self.passed != Some(replay) && !struck.names().is_empty() {
                (self.struck, self.passed) = (Some(struck), Some(replay));
                break;
            }
            let sent = ProducerEvent {
                id: event.id.clone(),
                schema_id: event.schema_id.clone(),
                payload: event.payload.clone(),
            };
            events.push(ConsumerEvent { event: Some(sent), replay_id: bus::replay_id(replay) });
            (place, pending) = (replay, pending - 1);
        }
        if events.is_empty() {
            return Ok(if self.struck.is_some() { Next::Delay(0) } else { Next::Wait });
        }
        authorise(org, &self.metadata)?;
        (self.place, self.pending) = (place, pending);
        Ok(Next::Respond(self.response(events)))
    }

    fn strike(&self, org: &mut Org, struck: &Struck) -> Result<Next, Status> {
        if let Some(status) = failed_by(org, struck) {
            return Err(status);
        }
        if struck.has(Fault::ConnectionReset) || struck.has(Fault::LostResponse) || struck.has(Fault::DroppedRequest) {
            return Ok(Next::Cut);
        }
        let delay = struck.find(|fault| if let Fault::Delay { ms } = fault { Some(ms) } else { None });
        Ok(Next::Delay(delay.unwrap_or(0)))
    }

    fn response(&self, events: Vec<ConsumerEvent>) -> FetchResponse {
        let latest_replay_id = bus::replay_id(self.place);
        FetchResponse { events, latest_replay_id, rpc_id: "sandbox".to_owned(), pending_num_requested: self.pending }
    }

    /// Says that there is nothing to deliver. Where nothing was asked for, it says only where the subscription stands.
    fn alive(&mut self, org: &mut Org) -> Result<FetchResponse, Status> {
        authorise(org, &self.metadata)?;
        if self.pending > 0 && org.bus.after(self.place, self.object.as_deref()).is_none() {
            let now_ms = org.clock.now_ms();
            org.bus.forget(now_ms);
            self.place = org.bus.latest(now_ms);
        }
        Ok(self.response(Vec::new()))
    }
}
