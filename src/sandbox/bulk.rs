//! Bulk API 2.0: jobs that load or read many records as CSV. A job's work is done at once, or when a fault says so; then its state moves on each
//! time it is asked for.

use std::collections::BTreeMap;
use std::io::Write as _;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::describe::Kind;
use super::exchange::{Answer, Refusal};
use super::ids;
use super::org::{Call, Org, object_named};
use super::soql::plan::Plan;
use super::soql::syntax::parse;
use super::values::to_text;

mod ingest;

use ingest::Ingest;

/// What of a query is read at once where nothing is said.
const LINES: usize = 50_000;
const DELIMITERS: &[(&str, u8)] =
    &[("COMMA", b','), ("TAB", b'\t'), ("SEMICOLON", b';'), ("PIPE", b'|'), ("BACKQUOTE", b'`'), ("CARET", b'^')];

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::UploadComplete => "UploadComplete",
            Self::InProgress => "InProgress",
            Self::JobComplete => "JobComplete",
            Self::Failed => "Failed",
            Self::Aborted => "Aborted",
        }
    }

    /// What it is the next time somebody asks, once its work is done.
    fn next(self, fails: bool) -> Self {
        match self {
            Self::UploadComplete => Self::InProgress,
            Self::InProgress if fails => Self::Failed,
            Self::InProgress => Self::JobComplete,
            Self::Open | Self::JobComplete | Self::Failed | Self::Aborted => self,
        }
    }
}

/// What all jobs have.
#[derive(Debug)]
struct Job {
    id: String,
    object: String,
    operation: String,
    phase: Phase,
    created: String,
    user: String,
    delimiter: &'static str,
    line_ending: String,
    processed: usize,
    failed: usize,
    error: Option<String>,
    /// When its work is done, until it is.
    due_ms: Option<i64>,
}

impl Job {
    /// Somebody has asked for it.
    fn step(&mut self) {
        if self.due_ms.is_none() {
            self.phase = self.phase.next(self.error.is_some());
        } else if self.phase == Phase::UploadComplete {
            self.phase = Phase::InProgress;
        }
    }

    fn tell(&self, version: &str) -> Value {
        json!({
            "id": self.id, "object": self.object, "operation": self.operation, "state": self.phase.name(), "createdDate": self.created,
            "systemModstamp": self.created, "createdById": self.user, "concurrencyMode": "Parallel", "contentType": "CSV",
            "apiVersion": version.trim_start_matches('v').parse::<f64>().unwrap_or(0.0), "jobType": "V2Ingest",
            "lineEnding": self.line_ending, "columnDelimiter": self.delimiter, "numberRecordsProcessed": self.processed,
            "numberRecordsFailed": self.failed, "retries": 0, "totalProcessingTime": 0, "apiActiveProcessingTime": 0,
            "apexProcessingTime": 0, "errorMessage": self.error,
        })
    }

    fn delimiter(&self) -> u8 {
        DELIMITERS.iter().find(|(name, _)| *name == self.delimiter).map_or(b',', |(_, byte)| *byte)
    }
}

#[derive(Debug)]
struct Reading {
    job: Job,
    headings: Vec<String>,
    lines: Vec<Vec<String>>,
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    made: u64,
    ingests: BTreeMap<String, Ingest>,
    readings: BTreeMap<String, Reading>,
}

/// The requests whose path begins with `jobs`.
pub(super) fn answer(org: &mut Org, call: &Call<'_>, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.request.method.as_str(), rest) {
        (_, ["ingest", rest @ ..]) => ingest::answer(org, call, rest),
        ("POST", ["query"]) => read(org, call),
        ("GET", ["query"]) => Ok(list(org.jobs.readings.values().map(|reading| reading.job.tell(call.version)))),
        ("GET", ["query", id]) => {
            let job = &mut reading(org, id)?.job;
            job.step();
            Ok(Answer::ok(&told(job, call)))
        }
        ("PATCH", ["query", id]) => {
            let aborts = call.request.json()?.get("state").and_then(Value::as_str) == Some("Aborted");
            let job = &mut reading(org, id)?.job;
            if !aborts || job.phase == Phase::JobComplete {
                return Err(Refusal::new(
                    "INVALIDJOBSTATE",
                    "A query job can only be aborted, and only before it is complete",
                ));
            }
            job.phase = Phase::Aborted;
            Ok(Answer::ok(&told(job, call)))
        }
        ("DELETE", ["query", id]) => {
            let id = reading(org, id)?.job.id.clone();
            org.jobs.readings.remove(&id);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("GET", ["query", id, "results"]) => {
            let page_max = call.within.page_max.unwrap_or(LINES);
            results(call, reading(org, id)?, page_max)
        }
        _ => Err(Refusal::not_found()),
    }
}

fn told(job: &Job, call: &Call<'_>) -> Value {
    let mut told = job.tell(call.version);
    if let Some(told) = told.as_object_mut() {
        told.insert("jobType".to_owned(), json!("V2Query"));
    }
    told
}

fn list(jobs: impl Iterator<Item = Value>) -> Answer {
    Answer::ok(&json!({"done": true, "records": jobs.collect::<Vec<_>>(), "nextRecordsUrl": null}))
}

fn reading<'o>(org: &'o mut Org, id: &str) -> Result<&'o mut Reading, Refusal> {
    let id = ids::normalize(id).ok_or_else(Refusal::not_found)?;
    org.jobs.readings.get_mut(&id).ok_or_else(Refusal::not_found)
}

/// A job as its creation asks for it.
fn new_job(org: &mut Org, call: &Call<'_>, object: String, operation: String) -> Result<Job, Refusal> {
    let body = call.request.json()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let wanted = text("columnDelimiter").unwrap_or("COMMA");
    let delimiter = DELIMITERS.iter().find(|(name, _)| *name == wanted).map(|(name, _)| *name);
    let line_ending = text("lineEnding").unwrap_or("LF").to_owned();
    if !["LF", "CRLF"].contains(&line_ending.as_str()) || text("contentType").is_some_and(|kind| kind != "CSV") {
        return Err(Refusal::new("INVALIDJOB", "lineEnding is LF or CRLF, and contentType CSV"));
    }
    org.jobs.made += 1;
    Ok(Job {
        id: ids::generate("750", org.jobs.made),
        object,
        operation,
        phase: Phase::Open,
        created: org.clock.stamp(0),
        user: org.integration.clone(),
        delimiter: delimiter
            .ok_or_else(|| Refusal::new("INVALIDJOB", format!("columnDelimiter {wanted} is not known")))?,
        line_ending,
        processed: 0,
        failed: 0,
        error: None,
        due_ms: None,
    })
}

fn read(org: &mut Org, call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.request.json()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let operation = text("operation");
    if !["query", "queryAll"].contains(&operation) {
        return Err(Refusal::new("INVALIDJOB", "operation is query or queryAll"));
    }
    let query = parse(text("query"))?;
    let (object, (headings, lines)) = {
        let plan = Plan::new(&query, &org.seen)?;
        (plan.object_name().to_owned(), plan.table(&org.store, operation == "queryAll")?)
    };
    let compound = |heading: &String| {
        let field = org.seen.object(&object).and_then(|object| object.field(heading));
        field.is_some_and(|(_, field)| field.kind == Kind::Address)
    };
    if headings.iter().any(compound) {
        return Err(Refusal::new("INVALIDJOB", "Compound fields are not supported in a bulk query"));
    }
    let mut job = new_job(org, call, object, operation.to_owned())?;
    job.phase = Phase::UploadComplete;
    job.processed = lines.len();
    job.due_ms = (call.within.job_ms > 0).then(|| org.clock.now_ms() + call.within.job_ms);
    job.error = call.within.job_fails_after.map(|_| "InternalServerError : the query was given up".to_owned());
    let lines = lines.iter().map(|line| line.iter().map(cell).collect()).collect();
    let told = told(&job, call);
    org.jobs.readings.insert(job.id.clone(), Reading { job, headings, lines });
    Ok(Answer::ok(&told))
}

/// A value as a cell of results: times end in `Z` there, and not as in JSON.
fn cell(value: &Value) -> String {
    let text = to_text(value);
    match text.strip_suffix("+0000") {
        Some(time) if super::clock::parse_datetime(&text).is_some() => format!("{time}Z"),
        Some(_) | None => text,
    }
}

fn results(call: &Call<'_>, reading: &Reading, page_max: usize) -> Result<Answer, Refusal> {
    if reading.job.phase != Phase::JobComplete {
        return Err(Refusal::new("INVALIDJOBSTATE", "The job is not complete"));
    }
    let number = |name: &str| match call.request.parameter(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text
            .parse::<usize>()
            .map(Some)
            .map_err(|_| Refusal::new("INVALID_QUERY_LOCATOR", format!("{name} is not valid"))),
    };
    let begin = number("locator")?.unwrap_or(0);
    let count = number("maxRecords")?.unwrap_or(LINES).min(page_max).max(1);
    if begin > reading.lines.len() || call.within.locator_expired {
        return Err(Refusal::new("INVALID_QUERY_LOCATOR", "locator is not valid"));
    }
    let lines: Vec<&Vec<String>> = reading.lines.iter().skip(begin).take(count).collect();
    let next = begin + lines.len();
    let locator = if next < reading.lines.len() { next.to_string() } else { "null".to_owned() };
    let count = lines.len();
    let answer = csv(&reading.headings, lines.into_iter().map(Vec::as_slice), &reading.job);
    // Whatever the client accepts, as the documentation says.
    Ok(compressed(answer).with("sforce-locator", locator).with("sforce-numberofrecords", count.to_string()))
}

fn compressed(mut answer: Answer) -> Answer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    match encoder.write_all(&answer.body).and_then(|()| encoder.finish()) {
        Ok(body) => {
            answer.body = body;
            answer.with("content-encoding", "gzip".to_owned())
        }
        Err(_) => answer,
    }
}

/// Does the work of the jobs whose time has come.
pub(super) fn work_due(org: &mut Org) {
    let now_ms = org.clock.now_ms();
    for reading in org.jobs.readings.values_mut() {
        reading.job.due_ms = reading.job.due_ms.filter(|due_ms| *due_ms > now_ms);
    }
    let is_due = |ingest: &&Ingest| ingest.job.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
    let due: Vec<String> = org.jobs.ingests.values().filter(is_due).map(|ingest| ingest.job.id.clone()).collect();
    for id in due {
        ingest::work(org, &id);
    }
}

/// Every cell in quotes, as the API writes them.
fn csv<'a>(headings: &'a [String], lines: impl Iterator<Item = &'a [String]>, job: &Job) -> Answer {
    let ending = if job.line_ending == "CRLF" { "\r\n" } else { "\n" };
    let delimiter = char::from(job.delimiter()).to_string();
    let mut text = String::new();
    for line in std::iter::once(headings).chain(lines) {
        let cells: Vec<String> = line.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
        text.push_str(&cells.join(&delimiter));
        text.push_str(ending);
    }
    Answer::text(StatusCode::OK, "text/csv", text)
}

/// The object that a job names.
fn job_object(org: &Org, name: &str) -> Result<String, Refusal> {
    object_named(&org.seen, name)
        .map(|object| object.name.clone())
        .map_err(|_| Refusal::new("INVALIDENTITY", format!("Unable to find object: {name}")))
}
