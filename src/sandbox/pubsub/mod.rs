//! The Pub/Sub API over gRPC: `Subscribe`, `GetSchema`, `GetTopic`. Publishing and managed subscriptions are not there.
//!
//! One port takes plain HTTP/2 and TLS: the first byte of a connection tells which, so that clients that know only one of them are both served.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use super::events;
use super::exchange;
use super::faults::{Fault, Struck};
use super::org::Org;
use messages::{SchemaInfo, SchemaRequest, TopicInfo, TopicRequest};

mod messages;
mod subscribe;

const SERVICE: &str = "eventbus.v1.PubSub";
/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// The channel of all objects.
const ALL: &str = "/data/ChangeEvents";

/// The org, as all connections share it.
pub(super) type Shared = Arc<Mutex<Org>>;

/// What a client is asked to trust: certificates and their key.
pub struct Identity {
    /// The server's own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Of the server's own.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// One that is made now, for this machine's own names. Nobody trusts it unasked.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn self_signed() -> Result<Self, String> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        Ok(Self { certificates: vec![made.cert.der().clone()], key })
    }

    fn acceptor(self) -> Result<TlsAcceptor, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.certificates, self.key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// Where the identity is none, or the listener fails.
pub(super) async fn serve(
    listener: TcpListener,
    identity: Identity,
    org: Shared,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let acceptor = identity.acceptor().map_err(io::Error::other)?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = shutdown.cancelled() => return Ok(()),
        };
        let (acceptor, org, shutdown) = (acceptor.clone(), Arc::clone(&org), shutdown.child_token());
        tokio::spawn(async move {
            // A client that goes away is no failure of the sandbox.
            if let Err(error) = connection(stream, acceptor, org, shutdown).await {
                tracing::debug!("a Pub/Sub connection ended: {error}");
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    org: Shared,
    cut: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first == [TLS_HANDSHAKE] {
        exchange_over(acceptor.accept(stream).await?, org, cut).await
    } else {
        exchange_over(stream, org, cut).await
    }
}

async fn exchange_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    org: Shared,
    cut: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let lost = cut.clone();
    let service = service_fn(move |request| answer(Arc::clone(&org), lost.clone(), request));
    let served =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = served => Ok(served?),
        // Without a word, as a network that fails.
        () = cut.cancelled() => Ok(()),
    }
}

async fn answer(
    org: Shared,
    cut: CancellationToken,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    Ok(match path.split_once('/') {
        Some((SERVICE, "Subscribe")) => {
            Grpc::new(ProstCodec::default()).streaming(subscribe::Subscribe { org, cut }, request).await
        }
        Some((SERVICE, "GetSchema")) => Grpc::new(ProstCodec::default()).unary(GetSchema(org), request).await,
        Some((SERVICE, "GetTopic")) => Grpc::new(ProstCodec::default()).unary(GetTopic(org), request).await,
        _ => Status::unimplemented("the sandbox has Subscribe, GetSchema and GetTopic").into_http(),
    })
}

fn lock(org: &Shared) -> MutexGuard<'_, Org> {
    org.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A failure with the code that the service puts into its trailers.
fn failure(status: Code, code: &str, message: &str) -> Status {
    let mut trailers = MetadataMap::new();
    for (name, value) in
        [("error-code", format!("sfdc.platform.eventbus.grpc.{code}")), ("rpc-id", "sandbox".to_owned())]
    {
        if let Ok(value) = value.parse() {
            trailers.insert(name, value);
        }
    }
    Status::with_metadata(status, format!("{message} rpcId: sandbox"), trailers)
}

fn unauthenticated() -> Status {
    let message = "An authentication exception occurred. Provide valid authentication via metadata headers.";
    failure(Code::Unauthenticated, "service.auth.error", message)
}

/// Whether the metadata name a session of this org.
fn authorise(org: &mut Org, metadata: &MetadataMap) -> Result<(), Status> {
    let given = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Some clients take no other scheme than https for an org's address.
    let host =
        |url: &str| url.split_once("://").map_or(String::new(), |(_, host)| host.trim_end_matches('/').to_owned());
    let here = host(given("instanceurl")) == host(&org.address) && given("tenantid") == org.organization;
    let now_ms = org.clock.now_ms();
    if here && org.sessions.holds(given("accesstoken"), now_ms) { Ok(()) } else { Err(unauthenticated()) }
}

/// What strikes a call, which is noted as a request.
fn strike(org: &mut Org, method: &str, named: &str) -> Struck {
    let target = format!("/{SERVICE}/{method}");
    let request = exchange::Request::new("RPC", &target, HeaderMap::new(), named.as_bytes().to_vec());
    let struck = org.faults.strike(&request);
    org.note_call(&request, method, &struck);
    struck
}

/// The failure that a fault makes of a call or of a stream.
fn failed_by(org: &mut Org, struck: &Struck) -> Option<Status> {
    if struck.has(Fault::SessionExpired) {
        org.sessions.expire();
        return Some(unauthenticated());
    }
    if struck.has(Fault::Unavailable) {
        return Some(failure(Code::Unavailable, "service.unavailable", "The service is unavailable. Try again later."));
    }
    if struck.has(Fault::CorruptedReplay) {
        return Some(corrupted());
    }
    let limited = struck.has(Fault::RequestLimit) || struck.has(Fault::ConcurrentLimit);
    let message = "You have exceeded the event delivery limit for your org.";
    limited.then(|| failure(Code::ResourceExhausted, "subscription.limit.exceeded", message))
}

fn corrupted() -> Status {
    let message = "The Replay ID validation failed. Ensure that the Replay ID is valid.";
    failure(Code::InvalidArgument, "subscription.fetch.replayid.corrupted", message)
}

/// The object of a channel, none for the one of all; a channel that is not there is refused.
fn topic(org: &Org, name: &str) -> Result<Option<String>, Status> {
    if name == ALL {
        return Ok(None);
    }
    let object = org.schema.objects().find(|object| object.writable && events::channel(&object.name) == name);
    object.map(|object| Some(object.name.clone())).ok_or_else(|| {
        let message = format!(
            "The topic information for org {} and topic {name} not found. Ensure the topic name is correct and that the topic exists.",
            org.organization
        );
        failure(Code::NotFound, "topic.not.found", &message)
    })
}

struct GetTopic(Shared);

impl UnaryService<TopicRequest> for GetTopic {
    type Response = TopicInfo;
    type Future = std::future::Ready<Result<Response<TopicInfo>, Status>>;

    fn call(&mut self, request: Request<TopicRequest>) -> Self::Future {
        std::future::ready(get_topic(&mut lock(&self.0), &request).map(Response::new))
    }
}

fn get_topic(org: &mut Org, request: &Request<TopicRequest>) -> Result<TopicInfo, Status> {
    let name = &request.get_ref().topic_name;
    let struck = strike(org, "GetTopic", name);
    authorise(org, request.metadata())?;
    if let Some(status) = failed_by(org, &struck) {
        return Err(status);
    }
    let object = topic(org, name)?;
    let schema = object.and_then(|object| org.schema.object(&object)).map(|object| events::schema(object).1);
    Ok(TopicInfo {
        topic_name: name.clone(),
        tenant_guid: org.organization.clone(),
        can_publish: false,
        can_subscribe: true,
        schema_id: schema.unwrap_or_default(),
        rpc_id: "sandbox".to_owned(),
    })
}

struct GetSchema(Shared);

impl UnaryService<SchemaRequest> for GetSchema {
    type Response = SchemaInfo;
    type Future = std::future::Ready<Result<Response<SchemaInfo>, Status>>;

    fn call(&mut self, request: Request<SchemaRequest>) -> Self::Future {
        std::future::ready(get_schema(&mut lock(&self.0), &request).map(Response::new))
    }
}

fn get_schema(org: &mut Org, request: &Request<SchemaRequest>) -> Result<SchemaInfo, Status> {
    let id = &request.get_ref().schema_id;
    let struck = strike(org, "GetSchema", id);
    authorise(org, request.metadata())?;
    if let Some(status) = failed_by(org, &struck) {
        return Err(status);
    }
    let mut schemas = org.schema.objects().map(events::schema);
    let found = schemas.find(|(_, known)| known == id);
    let (schema_json, schema_id) =
        found.ok_or_else(|| failure(Code::NotFound, "schema.not.found", "The schema is not found."))?;
    Ok(SchemaInfo { schema_json, schema_id, rpc_id: "sandbox".to_owned() })
}
