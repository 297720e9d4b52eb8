//! The org: everything that the sandbox knows, and the way of a request through it: faults, session, limit, handler, journal.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;

use super::clock::{Clock, DAY_MS, datetime, http_date};
use super::describe::{Object, Rights, Schema};
use super::events::bus::Bus;
use super::events::{self, Transaction};
use super::exchange::{Answer, Refusal, Request};
use super::faults::{Fault, Faults, Script, Struck};
use super::journal::{Entry, Journal};
use super::oauth::{self, Issuer, Sessions};
use super::query::Cursors;
use super::replication::DELETED_DAYS;
use super::seed;
use super::store::Store;
use super::write::{Trigger, Writer};
use super::{admin, bulk, collections, composite, page, query, rows, standard};

/// Lines of a job that are one transaction.
const JOB_CHUNK: usize = 200;

/// From the first that tells `created` to the newest that is known here.
const VERSIONS: std::ops::RangeInclusive<u32> = 46..=68;

/// What a request is answered with, and what becomes of the answer.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) answer: Answer,
    pub(super) ending: Ending,
    pub(super) delay_ms: u64,
}

/// How much of an answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    Half,
    Nothing,
}

/// What the faults of a request change about how it is handled.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Within {
    pub(super) page_max: Option<usize>,
    pub(super) locked_share: f64,
    pub(super) late_seconds: i64,
    pub(super) locator_expired: bool,
    pub(super) upsert_without_body: bool,
    pub(super) job_ms: i64,
    pub(super) job_fails_after: Option<usize>,
}

/// A request to the API that may go on.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    /// Such as `v60.0`.
    pub(super) version: &'a str,
    pub(super) within: Within,
}

/// Everything.
pub(super) struct Org {
    pub(super) address: String,
    pub(super) clock: Clock,
    pub(super) schema: Schema,
    /// The schema as the API's user sees it.
    pub(super) seen: Schema,
    /// What that user may do, by object; everything where one is not named.
    pub(super) rights: BTreeMap<String, Rights>,
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    pub(super) cursors: Cursors,
    pub(super) jobs: bulk::Jobs,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) bus: Bus,
    pub(super) triggers: Vec<Trigger>,
    /// The integration's user, whom the API writes as.
    pub(super) integration: String,
    /// The person who edits on the page.
    pub(super) person: String,
    pub(super) organization: String,
    /// Transactions so far.
    transactions: u64,
    usage: Usage,
    /// Deletes before it are forgotten.
    purged_ms: i64,
}

/// The requests of a day.
#[derive(Debug)]
struct Usage {
    max: u64,
    used: u64,
    began_ms: i64,
}

impl Org {
    /// An org without records but for its two users.
    pub(super) fn new(address: String, daily_requests: u64, script: Script) -> Self {
        let clock = Clock::default();
        let began_ms = clock.now_ms();
        let mut org = Self {
            address,
            clock,
            schema: standard::schema(),
            seen: standard::schema(),
            rights: BTreeMap::new(),
            store: Store::default(),
            sessions: Sessions::default(),
            cursors: Cursors::default(),
            jobs: bulk::Jobs::default(),
            faults: Faults::new(script),
            journal: Journal::default(),
            bus: Bus::default(),
            triggers: Vec::new(),
            integration: String::new(),
            person: String::new(),
            organization: super::ids::generate("00D", 1),
            transactions: 0,
            usage: Usage { max: daily_requests, used: 0, began_ms },
            purged_ms: i64::MIN,
        };
        org.integration = seed::user(&mut org, "Integration", oauth::USERNAME);
        org.person = seed::user(&mut org, "Sandra Box", "sandra@sandbox.example");
        org
    }

    /// Answers a request, and tells subscribers what it changed.
    pub(super) fn serve(&mut self, request: &Request) -> Served {
        self.store.purge(self.clock.now_ms() - DELETED_DAYS * DAY_MS);
        bulk::work_due(self);
        let parts: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let served = self.answer(request, &parts);
        self.publish(request, &parts);
        served
    }

    /// Makes change events of everything that was written since the last.
    fn publish(&mut self, request: &Request, parts: &[&str]) {
        let touched = self.store.take_touched();
        let (origin, user) = match parts {
            ["services", "data", version, rest @ ..] => {
                let api = if rest.first() == Some(&"jobs") { "bulkapi" } else { "rest" };
                let origin = format!("com/salesforce/api/{api}/{}", version.trim_start_matches('v'));
                let client = request.option("sforce-call-options", "client");
                (client.map_or_else(|| origin.clone(), |client| format!("{origin};client={client}")), &self.integration)
            }
            _ => (String::new(), &self.person),
        };
        let ms = self.clock.now_ms();
        // A job's lines are written 200 at a time; everything else is one transaction.
        let size = if parts.get(3) == Some(&"jobs") { JOB_CHUNK } else { touched.len().max(1) };
        for touched in touched.chunks(size) {
            self.transactions += 1;
            let of = Transaction { number: self.transactions, ms, user, origin: &origin };
            let mut number = 1;
            for object in events::objects(touched) {
                let Some(object) = self.schema.object(&object).filter(|object| object.writable) else { continue };
                for event in events::of_transaction(object, touched, &of, number, &mut self.faults) {
                    self.bus.publish(event, ms);
                    number += 1;
                }
            }
        }
        self.bus.forget(ms);
    }

    /// What was written until now is no news: the records that the sandbox begins with.
    pub(super) fn begin(&mut self) {
        self.store.take_touched();
        self.bus.clear();
    }

    fn answer(&mut self, request: &Request, parts: &[&str]) -> Served {
        if !matches!(parts.first(), Some(&("services" | "id"))) {
            let answer = if parts.first() == Some(&"sandbox") {
                admin::answer(self, request, parts.get(1..).unwrap_or_default())
                    .unwrap_or_else(|refusal| refusal.answer())
            } else {
                page::answer(self, request, parts)
            };
            return Served { answer, ending: Ending::Whole, delay_ms: 0 };
        }
        let struck = self.faults.strike(request);
        let mut answer = self.refused_by_fault(&struck).unwrap_or_else(|| self.api(request, parts, &struck));
        answer.headers.push(("date", http_date(self.clock.now_ms())));
        if !matches!(parts, ["services", "oauth2", ..] | ["services", "data"]) {
            let Usage { used, max, .. } = self.usage;
            answer.headers.push(("sforce-limit-info", format!("api-usage={used}/{max}")));
        }
        self.note(request, parts, &struck, &answer);
        let ending = if struck.has(Fault::LostResponse) || struck.has(Fault::DroppedRequest) {
            Ending::Nothing
        } else if struck.has(Fault::ConnectionReset) {
            Ending::Half
        } else {
            Ending::Whole
        };
        let delay_ms = struck.find(|fault| if let Fault::Delay { ms } = fault { Some(ms) } else { None });
        Served { answer, ending, delay_ms: delay_ms.unwrap_or(0) }
    }

    /// Faults that keep the request from taking effect.
    fn refused_by_fault(&mut self, struck: &Struck) -> Option<Answer> {
        if struck.has(Fault::DroppedRequest) {
            return Some(Answer::empty(StatusCode::BAD_GATEWAY));
        }
        if struck.has(Fault::Unavailable) {
            let body = "<html><body>Down for maintenance</body></html>".to_owned();
            return Some(Answer::text(StatusCode::SERVICE_UNAVAILABLE, "text/html", body));
        }
        if struck.has(Fault::SessionExpired) {
            self.sessions.expire();
            return Some(oauth::expired().answer());
        }
        if struck.has(Fault::RequestLimit) {
            return Some(total_exceeded().answer());
        }
        struck.has(Fault::ConcurrentLimit).then(|| {
            Refusal::new("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.")
                .answer()
        })
    }

    fn api(&mut self, request: &Request, parts: &[&str], struck: &Struck) -> Answer {
        let within = Within {
            page_max: struck.find(|fault| if let Fault::ShortPage { records } = fault { Some(records) } else { None }),
            locked_share: struck
                .find(|fault| if let Fault::LockedRow { share } = fault { Some(share) } else { None })
                .unwrap_or(0.0),
            late_seconds: struck
                .find(|fault| if let Fault::LateCommit { seconds } = fault { Some(seconds) } else { None })
                .unwrap_or(0),
            locator_expired: struck.has(Fault::ExpiredLocator),
            upsert_without_body: struck.has(Fault::NoContent),
            job_ms: struck.find(|fault| if let Fault::SlowJob { ms } = fault { Some(ms) } else { None }).unwrap_or(0),
            job_fails_after: struck
                .find(|fault| if let Fault::FailedJob { after } = fault { Some(after) } else { None }),
        };
        let answered = match parts {
            ["services", "oauth2", "token"] => return self.token(request),
            ["services", "oauth2", "userinfo"] | ["id", ..] => self.authorise(request).map(|()| self.identity()),
            ["services", "data"] => Ok(versions()),
            ["services", "data", version, rest @ ..] => self.versioned(request, version, rest, within),
            _ => Err(Refusal::not_found()),
        };
        answered.unwrap_or_else(|refusal| refusal.answer())
    }

    fn versioned(
        &mut self,
        request: &Request,
        version: &str,
        rest: &[&str],
        within: Within,
    ) -> Result<Answer, Refusal> {
        let number = version.strip_prefix('v').and_then(|version| version.strip_suffix(".0")?.parse::<u32>().ok());
        let number = number.ok_or_else(Refusal::not_found)?;
        if number < *VERSIONS.start() {
            return Err(Refusal::new(
                "UNSUPPORTED_API_VERSION",
                format!("The sandbox begins at v{}.0", VERSIONS.start()),
            ));
        }
        if number > *VERSIONS.end() {
            return Err(Refusal::not_found());
        }
        self.authorise(request)?;
        self.count()?;
        self.route(&Call { request, version, within }, rest)
    }

    fn authorise(&mut self, request: &Request) -> Result<(), Refusal> {
        self.sessions.check(request, self.clock.now_ms())
    }

    fn count(&mut self) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        if now_ms - self.usage.began_ms >= DAY_MS {
            (self.usage.used, self.usage.began_ms) = (0, now_ms);
        }
        if self.usage.used >= self.usage.max {
            return Err(total_exceeded());
        }
        self.usage.used += 1;
        Ok(())
    }

    /// Finds the handler; the session has been looked at, also for each part of a composite.
    pub(super) fn route(&mut self, call: &Call<'_>, rest: &[&str]) -> Result<Answer, Refusal> {
        match (call.request.method.as_str(), rest) {
            ("GET", []) => Ok(resources(call.version)),
            ("GET", ["limits"]) => Ok(self.limits()),
            ("GET", ["query"]) => query::begin(self, call, false),
            ("GET", ["queryAll"]) => query::begin(self, call, true),
            ("GET", ["query" | "queryAll", locator]) => query::go_on(self, call, locator),
            (_, ["sobjects", rest @ ..]) => rows::answer(self, call, rest),
            ("POST", ["composite"]) => composite::answer(self, call),
            (_, ["composite", "sobjects", rest @ ..]) => collections::answer(self, call, rest),
            (_, ["jobs", rest @ ..]) => bulk::answer(self, call, rest),
            _ => Err(Refusal::not_found()),
        }
    }

    /// Does something to the records as a user, each of which the faults may find locked.
    pub(super) fn write<T>(&mut self, within: Within, person: bool, work: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        let Self { schema, seen, store, clock, faults, triggers, integration, person: editor, .. } = self;
        let mut locked = || within.locked_share > 0.0 && faults.chance(within.locked_share);
        work(&mut Writer {
            schema: if person { schema } else { seen },
            store,
            clock,
            triggers,
            user: if person { editor } else { integration },
            late_seconds: within.late_seconds,
            locked: &mut locked,
        })
    }

    /// Sets what the API's user may do.
    pub(super) fn permit(&mut self, rights: BTreeMap<String, Rights>) {
        self.seen = self.schema.seen_with(&rights);
        self.rights = rights;
    }

    /// The time since when `deleted` knows everything.
    pub(super) fn deletes_known_since(&self) -> i64 {
        self.purged_ms.max(self.clock.now_ms() - DELETED_DAYS * DAY_MS)
    }

    /// Forgets all deletes, as the job does that clears their log.
    pub(super) fn purge_deletes(&mut self) {
        self.purged_ms = self.clock.now_ms();
        self.store.purge(self.purged_ms.saturating_add(1));
    }

    fn token(&mut self, request: &Request) -> Answer {
        let issuer = Issuer {
            address: &self.address,
            organization: &self.organization,
            user: &self.integration,
            now_ms: self.clock.now_ms(),
        };
        self.sessions.token(request, &issuer)
    }

    fn identity(&self) -> Answer {
        Answer::ok(&json!({
            "id": format!("{}/id/{}/{}", self.address, self.organization, self.integration), "user_id": self.integration,
            "organization_id": self.organization, "username": oauth::USERNAME, "preferred_username": oauth::USERNAME,
            "active": true, "user_type": "STANDARD", "display_name": "Integration",
            "urls": {"rest": format!("{}/services/data/v{{version}}/", self.address)},
        }))
    }

    fn limits(&self) -> Answer {
        let Usage { used, max, .. } = self.usage;
        let daily = json!({"Max": max, "Remaining": max - used});
        let unused = |count: u64| json!({"Max": count, "Remaining": count});
        Answer::ok(&json!({
            "DailyApiRequests": daily, "DailyBulkV2QueryJobs": unused(10_000), "DailyBulkApiBatches": unused(15_000),
            "DataStorageMB": unused(1024),
        }))
    }

    /// Notes a call of the Pub/Sub API.
    pub(super) fn note_call(&mut self, request: &Request, method: &str, struck: &Struck) {
        let entry = Entry {
            number: 0,
            at: datetime(self.clock.now_ms()),
            method: request.method.clone(),
            path: request.path(),
            query: std::collections::BTreeMap::new(),
            client: None,
            status: 200,
            faults: struck.names(),
            bytes_in: request.body.len(),
            bytes_out: 0,
        };
        self.journal.note(entry, method);
    }

    fn note(&mut self, request: &Request, parts: &[&str], struck: &Struck, answer: &Answer) {
        // Without versions and ids, so that equal requests are counted together.
        let kind: Vec<&str> =
            parts.iter().copied().skip(3).filter(|part| !part.bytes().any(|byte| byte.is_ascii_digit())).collect();
        let kind = if kind.is_empty() { parts.join("/") } else { kind.join("/") };
        let entry = Entry {
            number: 0,
            at: datetime(self.clock.now_ms()),
            method: request.method.clone(),
            path: request.path(),
            query: request.query.iter().cloned().collect(),
            client: request.option("sforce-call-options", "client").map(str::to_owned),
            status: answer.status.as_u16(),
            faults: struck.names(),
            bytes_in: request.body.len(),
            bytes_out: answer.body.len(),
        };
        self.journal.note(entry, &kind);
    }
}

/// An object that a request names.
pub(super) fn object_named<'s>(schema: &'s Schema, name: &str) -> Result<&'s Object, Refusal> {
    schema.object(name).ok_or_else(Refusal::not_found)
}

fn total_exceeded() -> Refusal {
    Refusal::new("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
}

fn versions() -> Answer {
    let list: Vec<_> = VERSIONS
        .map(|number| json!({"label": format!("Release {number}"), "url": format!("/services/data/v{number}.0"), "version": format!("{number}.0")}))
        .collect();
    Answer::ok(&json!(list))
}

fn resources(version: &str) -> Answer {
    let url = |name: &str| format!("/services/data/{version}/{name}");
    Answer::ok(&json!({
        "sobjects": url("sobjects"), "query": url("query"), "queryAll": url("queryAll"), "limits": url("limits"),
        "composite": url("composite"), "jobs": url("jobs"),
    }))
}

#[cfg(test)]
mod tests;
