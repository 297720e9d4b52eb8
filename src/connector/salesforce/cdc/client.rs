//! Calls of the Pub/Sub API (layer 4): gRPC with the org's session in the metadata. The one place that reads its status codes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::poll_fn;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::super::auth::Token;
use super::super::errors::{LIMIT_PAUSE, Place};
use super::super::org::Org;
use super::avro::Schema;
use super::messages::{FetchRequest, FetchResponse, SchemaInfo, SchemaRequest, TopicInfo, TopicRequest};
use crate::error::{ErrorKind, Result, SyncError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take that is no subscription.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a connection that says nothing is asked whether it lives, and how long it may take to answer.
const PING: Duration = Duration::from_secs(30);
/// A response: a hundred events of a megabyte at most.
const RESPONSE_BYTES_MAX: usize = 128 << 20;
/// Where the code stands that tells more than the status.
const ERROR_CODE: &str = "error-code";

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The session has ended: this one.
    Session(Box<Token>, SyncError),
    /// The replay id is unknown, or older than three days.
    ReplayId,
    /// Anything else.
    Other(SyncError),
}

impl Failure {
    fn error(self, place: &Place) -> SyncError {
        match self {
            Self::Session(_, error) | Self::Other(error) => error,
            Self::ReplayId => {
                place.error(ErrorKind::Internal, "salesforce.answer", "a replay id was refused where there was none")
            }
        }
    }
}

/// The Pub/Sub API of one org, for one object.
pub(super) struct Client {
    org: Arc<Org>,
    place: Place,
    /// `/data/AccountChangeEvent`.
    pub(super) topic: String,
    channel: Channel,
    schemas: Mutex<HashMap<String, Arc<Schema>>>,
}

impl Client {
    /// Connects when it is first asked for something.
    ///
    /// # Errors
    /// Where there can be no connection to that address.
    pub(super) fn new(org: &Arc<Org>, place: &Place, object: &str) -> Result<Self> {
        let wrong = |error: tonic::transport::Error| {
            let text = "no connection to \"pubsub_endpoint\" can be made";
            place.error(ErrorKind::SchemaMismatch, "salesforce.options", text).caused_by(error)
        };
        let address = org.pubsub_endpoint();
        let mut endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(wrong)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true);
        if address.starts_with("https://") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(wrong)?;
        }
        Ok(Self {
            org: Arc::clone(org),
            place: place.clone(),
            topic: topic(object),
            channel: endpoint.connect_lazy(),
            schemas: Mutex::default(),
        })
    }

    /// Whether the object's changes are told to this user.
    ///
    /// # Errors
    /// `SchemaMismatch` or `PermissionDenied` with what is to be set up; `Unavailable`.
    pub(super) async fn check(&self) -> Result<()> {
        let request = TopicRequest { topic_name: self.topic.clone() };
        let doing = "asking for the change events' channel";
        let known: TopicInfo = self.ask(doing, "/eventbus.v1.PubSub/GetTopic", request).await?;
        if known.can_subscribe {
            return Ok(());
        }
        let text = format!("this user may not read {}: it needs \"View All\" on the object", self.topic);
        Err(self.place.error(ErrorKind::PermissionDenied, "salesforce.forbidden", text))
    }

    /// A schema: asked for once.
    ///
    /// # Errors
    /// As any call; `Internal` where it is none.
    pub(super) async fn schema(&self, id: &str) -> Result<Arc<Schema>> {
        if let Some(known) = self.schemas.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Arc::clone(known));
        }
        let request = SchemaRequest { schema_id: id.to_owned() };
        let doing = "asking for the schema of change events";
        let told: SchemaInfo = self.ask(doing, "/eventbus.v1.PubSub/GetSchema", request).await?;
        let schema = Schema::parse(&told.schema_json).map_err(|error| self.garbled(&error))?;
        let schema = Arc::new(schema);
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    pub(super) fn garbled(&self, error: &dyn std::fmt::Display) -> SyncError {
        let text = format!("reading a change event: {error}");
        self.place.error(ErrorKind::Internal, "salesforce.answer", text)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Begins a subscription. What is sent to the sender asks for more.
    ///
    /// # Errors
    /// As the API says.
    pub(super) async fn subscribe(
        &self,
        ended: Option<&Token>,
        first: FetchRequest,
    ) -> std::result::Result<Subscription, Failure> {
        let (more, mut requests) = mpsc::channel(4);
        // There is room for the first.
        let _sent = more.try_send(first);
        let token = self.org.token(ended).await.map_err(Failure::Other)?;
        let request =
            self.signed(poll_fn(move |context| requests.poll_recv(context)), &token).map_err(Failure::Other)?;
        let path = PathAndQuery::from_static("/eventbus.v1.PubSub/Subscribe");
        let mut grpc = self.grpc().await.map_err(|status| self.failed("subscribing", &token, &status))?;
        let codec = ProstCodec::<FetchRequest, FetchResponse>::default();
        let answer = grpc.streaming(request, path, codec).await;
        let answer = answer.map_err(|status| self.failed("subscribing", &token, &status))?;
        Ok(Subscription { more, responses: answer.into_inner(), token })
    }

    /// A call that is no subscription: once more with a new session where the first has ended.
    async fn ask<Q, A>(&self, doing: &'static str, path: &'static str, request: Q) -> Result<A>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        match self.once(doing, path, request.clone(), None).await {
            Err(Failure::Session(token, _)) => {
                self.once(doing, path, request, Some(&token)).await.map_err(|failure| failure.error(&self.place))
            }
            done => done.map_err(|failure| failure.error(&self.place)),
        }
    }

    async fn once<Q, A>(
        &self,
        doing: &'static str,
        path: &'static str,
        request: Q,
        ended: Option<&Token>,
    ) -> std::result::Result<A, Failure>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let token = self.org.token(ended).await.map_err(Failure::Other)?;
        let request = self.signed(request, &token).map_err(Failure::Other)?;
        let answer = async {
            let codec = ProstCodec::<Q, A>::default();
            self.grpc().await?.unary(request, PathAndQuery::from_static(path), codec).await
        };
        let answer = tokio::time::timeout(CALL_TIMEOUT, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::unavailable("no answer in time")));
        answer.map(tonic::Response::into_inner).map_err(|status| self.failed(doing, &token, &status))
    }

    async fn grpc(&self) -> std::result::Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(grpc)
    }

    fn signed<T>(&self, message: T, token: &Token) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let all = [
            ("accesstoken", token.access.expose()),
            ("instanceurl", &token.address),
            ("tenantid", &token.organization),
        ];
        for (name, value) in all {
            let mut value: MetadataValue<_> = value.parse().map_err(|_| {
                let text = format!("logging in: the {name} that was given cannot be sent");
                self.place.error(ErrorKind::Unauthenticated, "salesforce.login", text)
            })?;
            value.set_sensitive(true);
            request.metadata_mut().insert(name, value);
        }
        Ok(request)
    }

    /// What a status says. Its message may name more than we want to repeat, so only codes are passed on (I12).
    pub(super) fn failed(&self, doing: &str, token: &Token, status: &Status) -> Failure {
        let code = status.metadata().get(ERROR_CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
        if code.contains(".replayid.") {
            return Failure::ReplayId;
        }
        let told =
            if code.is_empty() { format!("{:?}", status.code()) } else { format!("{:?}, {code}", status.code()) };
        let error = |kind, code, text: String| self.place.error(kind, code, text);
        match status.code() {
            Code::Unauthenticated => {
                let text = format!("{doing}: the session has ended ({told})");
                Failure::Session(Box::new(token.clone()), error(ErrorKind::Unauthenticated, "salesforce.session", text))
            }
            Code::NotFound => {
                let text = format!(
                    "{doing}: there is no channel {}; select the object in Setup, Change Data Capture, or leave \
                     \"change_detection\" out ({told})",
                    self.topic
                );
                Failure::Other(error(ErrorKind::SchemaMismatch, "salesforce.no_channel", text))
            }
            Code::PermissionDenied => {
                let text = format!("{doing}: this user may not read {} ({told})", self.topic);
                Failure::Other(error(ErrorKind::PermissionDenied, "salesforce.forbidden", text))
            }
            Code::ResourceExhausted => {
                let text = format!("{doing}: the org's deliveries are used up ({told})");
                Failure::Other(error(ErrorKind::RateLimited, "salesforce.limit", text).retry_after(LIMIT_PAUSE))
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => {
                Failure::Other(error(ErrorKind::Unavailable, "salesforce.unavailable", format!("{doing}: {told}")))
            }
        }
    }
}

/// A subscription that was begun.
pub(super) struct Subscription {
    pub(super) more: mpsc::Sender<FetchRequest>,
    pub(super) responses: Streaming<FetchResponse>,
    /// The session that it was begun with.
    pub(super) token: Token,
}

/// The channel of an object's events.
fn topic(object: &str) -> String {
    let stem = if object.ends_with("__c") { object.trim_end_matches('c') } else { object };
    format!("/data/{stem}ChangeEvent")
}

#[cfg(test)]
mod tests {
    use super::topic;

    #[test]
    fn channels_are_named_after_their_objects() {
        assert_eq!(topic("Account"), "/data/AccountChangeEvent");
        assert_eq!(topic("Invoice_Doc__c"), "/data/Invoice_Doc__ChangeEvent");
    }
}
