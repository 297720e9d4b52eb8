//! One org (layer 4): its token, its limits and what it says about its objects, shared by all pairs that reach it with the same login.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::auth::{self, Token};
use super::bulk::Jobs;
use super::catalogue::Object;
use super::errors::Place;
use super::limits::{Admission, Limits};
use super::options::Login;
use crate::config::{Endpoint, Secret};
use crate::error::{ErrorKind, Result, SyncError};

/// How long an object's description is taken for true.
const DESCRIBED_FOR: Duration = Duration::from_secs(300);
/// How often what changes nothing is asked before it is given up.
const READ_TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The largest answer, unpacked.
const BODY_MAX: u64 = 1 << 29;
/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The orgs of this process.
static ORGS: LazyLock<Mutex<HashMap<String, Arc<Org>>>> = LazyLock::new(Mutex::default);

/// An org, as one login sees it.
pub(super) struct Org {
    login: Login,
    client: reqwest::Client,
    /// Held while a token is asked for, so that all who need one wait for the same.
    token: tokio::sync::Mutex<Option<Token>>,
    limits: Mutex<Limits>,
    objects: Mutex<HashMap<String, (Instant, Arc<Object>)>>,
    pub(super) jobs: Jobs,
}

impl std::fmt::Debug for Org {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Org").field("address", &self.login.address).finish_non_exhaustive()
    }
}

/// An answer that was a success.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    pub(super) headers: HeaderMap,
    /// The server's clock, microseconds since 1970, to the second.
    pub(super) at: Option<i64>,
}

/// What is asked.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    /// For messages: `querying`.
    pub(super) doing: &'static str,
    pub(super) method: Method,
    /// Below `/services/data/vXX.X`, or the whole path of a next page.
    pub(super) path: &'a str,
    pub(super) body: Option<Content>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(doing: &'static str, path: &'a str) -> Self {
        Self { doing, method: Method::GET, path, body: None }
    }
}

/// What is sent along. Copies share it.
#[derive(Clone)]
pub(super) struct Content {
    kind: &'static str,
    bytes: Bytes,
}

impl Content {
    pub(super) fn json(text: String) -> Self {
        Self { kind: "application/json", bytes: Bytes::from(text) }
    }

    pub(super) fn csv(bytes: Vec<u8>) -> Self {
        Self { kind: "text/csv; charset=UTF-8", bytes: Bytes::from(bytes) }
    }
}

impl Org {
    /// The org of an endpoint, the same for all endpoints with the same login.
    ///
    /// # Errors
    /// Where the credentials do not say how to log in.
    pub(super) fn of(endpoint: &Endpoint) -> Result<Arc<Self>> {
        let login = Login::of(endpoint)?;
        let mut orgs = ORGS.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = login.fingerprint();
        if let Some(org) = orgs.get(&fingerprint) {
            return Ok(Arc::clone(org));
        }
        if matches!(login.grant, super::options::Grant::Password { .. }) {
            tracing::warn!(
                org = login.place.host,
                "logging in by name and password, which Salesforce advises against and new orgs block: use client_credentials or jwt_bearer"
            );
        }
        let org = Arc::new(Self {
            client: client(&login.place)?,
            login,
            token: tokio::sync::Mutex::default(),
            limits: Mutex::new(Limits::new(Instant::now())),
            objects: Mutex::default(),
            jobs: Jobs::default(),
        });
        orgs.insert(fingerprint, Arc::clone(&org));
        Ok(org)
    }

    /// The org, and an object in it, for messages.
    pub(super) fn place(&self, object: &str) -> Place {
        Place { object: Some(object.to_owned()), ..self.login.place.clone() }
    }

    /// Ids of the org and of the user that requests are made as.
    ///
    /// # Errors
    /// Where logging in fails.
    pub(super) async fn identity(&self) -> Result<(String, String)> {
        let token = self.token(None).await?;
        Ok((token.organization, token.user))
    }

    /// What the org says about an object, a little while ago at most.
    ///
    /// # Errors
    /// `SchemaMismatch` where there is no such object, or none that may be seen.
    pub(super) async fn object(&self, name: &str) -> Result<Arc<Object>> {
        let known = self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((at, object)) = known
            && at.elapsed() < DESCRIBED_FOR
        {
            return Ok(object);
        }
        let object = Arc::new(super::catalogue::describe(self, name).await?);
        let entry = (Instant::now(), Arc::clone(&object));
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), entry);
        Ok(object)
    }

    /// What was said of objects is asked for again: a field or a right has changed.
    pub(super) fn forget_objects(&self) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks for something that changes nothing: an outage of a moment is waited for.
    ///
    /// # Errors
    /// As [`Self::send`], once several tries came to nothing.
    pub(super) async fn read(&self, place: &Place, ask: Ask<'_>) -> Result<Answer> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..READ_TRIES {
            match self.send(place, ask.clone()).await {
                Err(error) if error.kind == ErrorKind::Unavailable && error.code != "salesforce.locator" => {
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
            pause *= 2;
        }
        self.send(place, ask).await
    }

    /// Asks once; where the session has ended, once more with a new one. (A request that was refused for its session did nothing.)
    ///
    /// # Errors
    /// `Unavailable` where no whole answer came, so that nobody knows whether it took effect; else what the answer says.
    pub(super) async fn send(&self, place: &Place, ask: Ask<'_>) -> Result<Answer> {
        let token = self.token(None).await?;
        match self.once(place, &ask, &token).await {
            Err(error) if error.code == "salesforce.session" => {
                let token = self.token(Some(&token)).await?;
                self.once(place, &ask, &token).await
            }
            done => done,
        }
    }

    async fn once(&self, place: &Place, ask: &Ask<'_>, token: &Token) -> Result<Answer> {
        self.admit(place, ask.doing).await?;
        let path = if ask.path.starts_with("/services/") {
            format!("{}{}", token.address, ask.path)
        } else {
            format!("{}/services/data/v{}/{}", token.address, self.login.version, ask.path)
        };
        let mut request = self.client.request(ask.method.clone(), path).bearer_auth(token.access.expose());
        if let Some(body) = &ask.body {
            request = request.header("content-type", body.kind).body(body.bytes.clone());
        }
        let unreachable = |error| place.unreachable(ask.doing, error);
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let at = header(answer.headers(), "date").and_then(http_date);
        if let Some(usage) = header(answer.headers(), "sforce-limit-info") {
            self.limits().note(usage);
        }
        let headers = answer.headers().clone();
        let packed = header(&headers, "content-encoding").is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let body = answer.bytes().await.map_err(unreachable)?;
        let body = if packed { unpacked(&body).ok_or_else(|| place.unpackable(ask.doing))? } else { body.to_vec() };
        if status.is_success() {
            return Ok(Answer { body, headers, at });
        }
        let error = place.refused(ask.doing, status.as_u16(), &body);
        if matches!(error.kind, ErrorKind::SchemaMismatch | ErrorKind::PermissionDenied) {
            self.forget_objects();
        }
        if let (ErrorKind::RateLimited, Some(pause)) = (error.kind, error.retry_after) {
            self.limits().close(Instant::now(), pause);
        }
        Err(error)
    }

    /// Waits for a place in the budget.
    async fn admit(&self, place: &Place, doing: &str) -> Result<()> {
        let admission = self.limits().admit(Instant::now());
        match admission {
            Admission::After(wait) if wait.is_zero() => Ok(()),
            Admission::After(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Admission::Closed(pause) => {
                let usage = self
                    .limits()
                    .usage()
                    .map(|(used, of)| format!(" ({used} of {of} in 24 hours)"))
                    .unwrap_or_default();
                let text =
                    format!("{doing}: the org's requests are used up but for the part that is left to others{usage}");
                Err(place.error(ErrorKind::RateLimited, "salesforce.limit", text).retry_after(pause))
            }
        }
    }

    fn limits(&self) -> std::sync::MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the Pub/Sub API is.
    pub(super) fn pubsub_endpoint(&self) -> &str {
        &self.login.pubsub_endpoint
    }

    /// A token; a new one where `ended` is the one that there is.
    ///
    /// # Errors
    /// Where logging in fails.
    pub(super) async fn token(&self, ended: Option<&Token>) -> Result<Token> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref()
            && ended.is_none_or(|ended| ended.access != token.access)
        {
            return Ok(token.clone());
        }
        let newest: Option<Secret> = held.as_ref().and_then(|token| token.refresh.clone());
        let mut token = auth::token(&self.client, &self.login, newest.as_ref()).await?;
        if let Some(newer) = &token.refresh {
            match auth::keep(&self.login, newer) {
                Ok(true) => {}
                Ok(false) => tracing::warn!(
                    org = self.login.place.host,
                    "the org replaces refresh tokens: name a file in \"refresh_token_file\", or the next start cannot log in"
                ),
                Err(error) => tracing::error!(
                    org = self.login.place.host, %error,
                    "the refresh token that replaces the one before cannot be kept: the next start cannot log in"
                ),
            }
        }
        token.refresh = token.refresh.or(newest);
        *held = Some(token.clone());
        Ok(token)
    }
}

/// What a body was before it was compressed; `None` where it is damaged, or too large to be an answer.
fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(body).take(BODY_MAX + 1).read_to_end(&mut plain).ok()?;
    (u64::try_from(read).ok()? <= BODY_MAX).then_some(plain)
}

/// A header of an answer as text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_microsecond())
}

/// Names us to the org, which tells its own change events by it, and lets no assignment rule move what we write.
fn client(place: &Place) -> Result<reqwest::Client, SyncError> {
    // Another part of the program may have been first, with the same one.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    headers.insert("sforce-call-options", HeaderValue::from_static("client=tidelock"));
    headers.insert("sforce-auto-assign", HeaderValue::from_static("FALSE"));
    // Results of jobs come compressed in any case, and pages of queries are a tenth of their size.
    headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
    // What a proxy of the environment is set to is the operator's business, and what leads elsewhere is not followed: the token would go along.
    let builder = reqwest::Client::builder()
        .default_headers(headers)
        .user_agent("tidelock")
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    builder.build().map_err(|error| {
        place.error(ErrorKind::Internal, "salesforce.client", "no HTTP client can be made").caused_by(error)
    })
}
