//! `tidelock sandbox salesforce` (layer 8): a Salesforce-compatible API with its own records, on loopback, so that a configuration can be tried and
//! tested without an org. It knows nothing of tidelock's pairs and connectors: it is what they are held against.
//!
//! A request's way: this file (HTTP) → [`org`] (faults, session, limit) → `rows`, `query`, `collections`, `composite`, `replication`, `bulk` → `write` and
//! [`store`]. All of it is a function of the org and the request; only this file and [`pubsub`] know sockets. What a request changed is told as change events (`events`), which
//! the Pub/Sub API ([`pubsub`]) delivers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod admin;
mod bulk;
mod clock;
mod collections;
mod composite;
mod describe;
mod events;
mod exchange;
mod faults;
mod ids;
mod journal;
mod oauth;
mod org;
mod page;
mod pubsub;
mod query;
mod replication;
mod rows;
mod seed;
mod soql;
mod standard;
mod store;
mod values;
mod write;

pub use faults::Script;
pub use oauth::{CLIENT_ID, CLIENT_SECRET, PASSWORD, REFRESH_TOKEN, USERNAME};
pub use pubsub::Identity;

use exchange::Request;
use org::{Ending, Org, Served};

/// The largest body: what Bulk API 2.0 takes, and a little.
const BODY_MAX: usize = 151_000_000;

/// The accounts of a sandbox that was given none.
const ACCOUNTS: &str = include_str!("accounts.csv");
/// And the contacts.
const CONTACTS: &str = include_str!("contacts.csv");

/// A sandbox that has its port.
pub struct Sandbox {
    listener: TcpListener,
    pubsub: TcpListener,
    org: Org,
}

impl Sandbox {
    /// Takes two ports of the loopback address, any with 0: for the REST API and for the Pub/Sub API.
    ///
    /// # Errors
    /// Where a port cannot be had.
    pub async fn bind(port: u16, pubsub_port: u16, daily_requests: u64, faults: Script) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let pubsub = TcpListener::bind((Ipv4Addr::LOCALHOST, pubsub_port)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, pubsub, org: Org::new(address, daily_requests, faults) })
    }

    /// Where the REST API listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the Pub/Sub API listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn pubsub_address(&self) -> io::Result<SocketAddr> {
        self.pubsub.local_addr()
    }

    /// Loads records of an object from a CSV file's text, and returns how many.
    ///
    /// # Errors
    /// A sentence on the first record that cannot be loaded.
    pub fn seed(&mut self, object: &str, text: &str) -> Result<usize, String> {
        seed::load(&mut self.org, object, text)
    }

    /// Loads the accounts and contacts that come with it, and returns how many.
    ///
    /// # Errors
    /// As [`Self::seed`].
    pub fn seed_sample(&mut self) -> Result<usize, String> {
        Ok(self.seed("Account", ACCOUNTS)? + self.seed("Contact", CONTACTS)?)
    }

    /// Serves until `shutdown`. Clients of the Pub/Sub API that want TLS are shown `identity`.
    ///
    /// # Errors
    /// Where a listener fails, or the identity is none.
    pub async fn serve(mut self, identity: Identity, shutdown: CancellationToken) -> io::Result<()> {
        self.org.begin();
        let org = Arc::new(Mutex::new(self.org));
        let router = Router::new().fallback(handle).with_state(Arc::clone(&org));
        let events = pubsub::serve(self.pubsub, identity, org, shutdown.child_token());
        let ended = async move { shutdown.cancelled().await };
        let api = axum::serve(self.listener, router).with_graceful_shutdown(ended);
        tokio::try_join!(events, async move { api.await })?;
        Ok(())
    }
}

async fn handle(State(org): State<Arc<Mutex<Org>>>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let request = Request::new(head.method.as_str(), target, head.headers, body.to_vec());
    let served = org.lock().unwrap_or_else(PoisonError::into_inner).serve(&request);
    if served.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(served.delay_ms)).await;
    }
    response(served)
}

fn response(served: Served) -> Response {
    let Served { answer, ending, .. } = served;
    let length = answer.body.len();
    let body = match ending {
        Ending::Whole => Body::from(answer.body),
        Ending::Nothing => broken(None),
        Ending::Half => {
            let half: Vec<u8> = answer.body.into_iter().take(length / 2).collect();
            broken(Some(Bytes::from(half)))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    if ending == Ending::Half {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// A body that fails, after this much of it: the server closes the connection. Where it fails at once, not even the head is sent.
fn broken(first: Option<Bytes>) -> Body {
    let failure = || Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset));
    let Some(first) = first else { return Body::from_stream(stream::iter([failure()])) };
    let failure = stream::once(async move {
        // What came before is on its way once this has waited.
        tokio::task::yield_now().await;
        failure()
    });
    Body::from_stream(stream::iter([Ok(first)]).chain(failure))
}
