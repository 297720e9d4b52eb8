//! Jobs that write: create the job, upload one file, say that it is complete, ask until it is done, fetch what became of each line.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Job, Phase, csv, job_object, list, new_job};
use crate::sandbox::describe::{Kind, Object};
use crate::sandbox::exchange::{Answer, Refusal};
use crate::sandbox::ids;
use crate::sandbox::org::{Call, Org, Within, object_named};
use crate::sandbox::values::from_text;
use crate::sandbox::write::{Input, Upserted, Writer, key_field};

const BYTES_MAX: usize = 150_000_000;
/// In a cell: null. An empty cell is left alone.
const NULL: &str = "#N/A";
const OPERATIONS: &[&str] = &["insert", "update", "upsert", "delete", "hardDelete"];

/// A job that writes.
#[derive(Debug)]
pub(super) struct Ingest {
    pub(super) job: Job,
    external_id: Option<String>,
    data: Option<Vec<u8>>,
    /// What the faults of the request that started it make of it.
    within: Within,
    headings: Vec<String>,
    /// Id, whether it was created or what was wrong, and the cells as they came.
    succeeded: Vec<Vec<String>>,
    failed: Vec<Vec<String>>,
    /// Lines that it did not get to.
    unprocessed: Vec<Vec<String>>,
}

impl Ingest {
    fn tell(&self, call: &Call<'_>) -> Value {
        let mut told = self.job.tell(call.version);
        if let Some(told) = told.as_object_mut() {
            let url = format!("services/data/{}/jobs/ingest/{}/batches", call.version, self.job.id);
            told.insert("contentUrl".to_owned(), json!(url));
            told.insert("externalIdFieldName".to_owned(), json!(self.external_id));
        }
        told
    }
}

pub(super) fn answer(org: &mut Org, call: &Call<'_>, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.request.method.as_str(), rest) {
        ("POST", []) => create(org, call),
        ("GET", []) => Ok(list(org.jobs.ingests.values().map(|ingest| ingest.tell(call)))),
        ("PUT", [id, "batches"]) => upload(found(org, id)?, call),
        ("PATCH", [id]) => {
            let state = call.request.json()?.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
            set_state(org, call, id, &state)
        }
        ("GET", [id]) => {
            let ingest = found(org, id)?;
            ingest.job.step();
            Ok(Answer::ok(&ingest.tell(call)))
        }
        ("DELETE", [id]) => {
            let id = found(org, id)?.job.id.clone();
            org.jobs.ingests.remove(&id);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("GET", [id, kind]) => results(found(org, id)?, kind),
        _ => Err(Refusal::not_found()),
    }
}

fn found<'o>(org: &'o mut Org, id: &str) -> Result<&'o mut Ingest, Refusal> {
    let id = ids::normalize(id).ok_or_else(Refusal::not_found)?;
    org.jobs.ingests.get_mut(&id).ok_or_else(Refusal::not_found)
}

fn create(org: &mut Org, call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.request.json()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let operation = text("operation").unwrap_or_default();
    if !OPERATIONS.contains(&operation) {
        return Err(Refusal::new("INVALIDJOB", format!("operation is one of {}", OPERATIONS.join(", "))));
    }
    let object = job_object(org, text("object").unwrap_or_default())?;
    let external_id = text("externalIdFieldName").map(str::to_owned);
    if operation == "upsert" {
        let name = external_id.as_deref().unwrap_or_default();
        key_field(object_named(&org.seen, &object)?, name).map_err(|_| {
            Refusal::new("INVALIDJOB", format!("externalIdFieldName '{name}' is no external id of {object}"))
        })?;
    }
    let job = new_job(org, call, object, operation.to_owned())?;
    let (id, none) = (job.id.clone(), Vec::new);
    let (within, headings) = (call.within, Vec::new());
    let (succeeded, failed, unprocessed) = (none(), none(), none());
    let ingest = Ingest { job, external_id, data: None, within, headings, succeeded, failed, unprocessed };
    let told = ingest.tell(call);
    org.jobs.ingests.insert(id, ingest);
    Ok(Answer::ok(&told))
}

fn upload(ingest: &mut Ingest, call: &Call<'_>) -> Result<Answer, Refusal> {
    if ingest.job.phase != Phase::Open || ingest.data.is_some() {
        return Err(Refusal::new("INVALIDJOBSTATE", "One file is uploaded to an open job"));
    }
    if call.request.body.len() > BYTES_MAX {
        return Err(Refusal::new("PAYLOADTOOLARGE", format!("At most {BYTES_MAX} bytes")));
    }
    ingest.data = Some(call.request.body.clone());
    Ok(Answer::empty(StatusCode::CREATED))
}

fn set_state(org: &mut Org, call: &Call<'_>, id: &str, state: &str) -> Result<Answer, Refusal> {
    let now_ms = org.clock.now_ms();
    let ingest = found(org, id)?;
    let id = ingest.job.id.clone();
    match (state, ingest.job.phase, ingest.data.is_some()) {
        // What was done before stays.
        ("Aborted", Phase::Open | Phase::UploadComplete | Phase::InProgress, _) => {
            (ingest.job.phase, ingest.job.due_ms) = (Phase::Aborted, None);
        }
        ("UploadComplete", Phase::Open, true) => {
            ingest.job.phase = Phase::UploadComplete;
            ingest.within = call.within;
            ingest.job.due_ms = Some(now_ms + call.within.job_ms);
            super::work_due(org);
        }
        ("UploadComplete", Phase::Open, false) => {
            return Err(Refusal::new("INVALIDJOBSTATE", "Nothing was uploaded"));
        }
        ("UploadComplete" | "Aborted", phase, _) => {
            return Err(Refusal::new("INVALIDJOBSTATE", format!("The job is {}", phase.name())));
        }
        _ => return Err(Refusal::new("INVALIDJOBSTATE", "state is UploadComplete or Aborted")),
    }
    Ok(Answer::ok(&found(org, &id)?.tell(call)))
}

/// Does a job's work.
pub(super) fn work(org: &mut Org, id: &str) {
    // The job is taken out while it writes into the org that it is in.
    let Some(mut ingest) = org.jobs.ingests.remove(id) else { return };
    let data = ingest.data.take().unwrap_or_default();
    ingest.job.due_ms = None;
    ingest.job.error = write_all(org, &mut ingest, &data).err();
    ingest.job.processed = ingest.succeeded.len() + ingest.failed.len();
    ingest.job.failed = ingest.failed.len();
    org.jobs.ingests.insert(id.to_owned(), ingest);
}

/// Writes every line. The error is one of the whole file, or of a fault.
fn write_all(org: &mut Org, ingest: &mut Ingest, data: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(data).map_err(|_| "InvalidBatch : the file is not UTF-8".to_owned())?;
    let crlf = text.split_once('\n').is_some_and(|(first, _)| first.ends_with('\r'));
    if crlf != (ingest.job.line_ending == "CRLF") && text.contains('\n') {
        let setting = &ingest.job.line_ending;
        return Err(format!(
            "InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is {setting}"
        ));
    }
    let mut reader = ::csv::ReaderBuilder::new().delimiter(ingest.job.delimiter()).from_reader(text.as_bytes());
    let headings: Vec<String> =
        reader.headers().map_err(|error| format!("InvalidBatch : {error}"))?.iter().map(str::to_owned).collect();
    check_headings(org, &ingest.job.object, &headings)?;
    let mut lines = Vec::new();
    for line in reader.records() {
        let line = line.map_err(|error| format!("InvalidBatch : {error}"))?;
        lines.push(line.iter().map(str::to_owned).collect::<Vec<String>>());
    }
    ingest.unprocessed = lines.split_off(ingest.within.job_fails_after.unwrap_or(lines.len()).min(lines.len()));
    org.write(ingest.within, false, |writer| {
        for line in lines {
            let id = cell(&headings, &line, "Id").unwrap_or_default().to_owned();
            let (list, told) = match write_line(writer, ingest, &headings, &line) {
                Ok((id, created)) => (&mut ingest.succeeded, [id, created.to_string()]),
                Err(refusal) => {
                    let error = format!("{}:{}:{} --", refusal.code, refusal.message, refusal.fields.join(","));
                    (&mut ingest.failed, [id, error])
                }
            };
            list.push(told.into_iter().chain(line).collect());
        }
    });
    // Nobody may count on the order of the file.
    ingest.succeeded.reverse();
    ingest.failed.reverse();
    ingest.headings = headings;
    match ingest.within.job_fails_after {
        Some(after) => Err(format!("InternalServerError : the job was given up after {after} records")),
        None => Ok(()),
    }
}

fn check_headings(org: &Org, object: &str, headings: &[String]) -> Result<(), String> {
    let object = org.seen.object(object).ok_or("InvalidBatch : no such object")?;
    let known = |heading: &str| match heading.split_once('.') {
        Some((relationship, _)) => object.relationship(relationship).is_some(),
        None => object.field(heading).is_some(),
    };
    match headings.iter().find(|heading| !known(heading)) {
        Some(heading) => Err(format!("InvalidBatch : Field name not found : {heading}")),
        None => Ok(()),
    }
}

fn cell<'l>(headings: &[String], line: &'l [String], name: &str) -> Option<&'l str> {
    headings.iter().zip(line).find(|(heading, _)| heading.eq_ignore_ascii_case(name)).map(|(_, cell)| cell.as_str())
}

fn write_line(
    writer: &mut Writer<'_>,
    ingest: &Ingest,
    headings: &[String],
    line: &[String],
) -> Result<(String, bool), Refusal> {
    let object = object_named(writer.schema, &ingest.job.object)?;
    let id = cell(headings, line, "Id").unwrap_or_default();
    let missing = || Refusal::field("MISSING_ARGUMENT", "Id", "Id not specified");
    match ingest.job.operation.as_str() {
        operation @ ("delete" | "hardDelete") => {
            if id.is_empty() {
                return Err(missing());
            }
            writer.delete(object, id, operation == "hardDelete").map(|id| (id, false))
        }
        "insert" => writer.create(object, &input(object, headings, line, None)).map(|id| (id, true)),
        "update" => {
            if id.is_empty() {
                return Err(missing());
            }
            writer.update(object, id, &input(object, headings, line, Some("Id"))).map(|id| (id, false))
        }
        _ => {
            let field = ingest.external_id.as_deref().unwrap_or("Id");
            let key = cell(headings, line, field).unwrap_or_default();
            match writer.upsert(object, field, key, &input(object, headings, line, Some(field)))? {
                Upserted::One(id, created) => Ok((id, created)),
                Upserted::Several(ids) => {
                    let message =
                        format!("{field}: more than one record found for external id field: [{}]", ids.join(", "));
                    Err(Refusal::field("DUPLICATE_EXTERNAL_ID", field, message))
                }
            }
        }
    }
}

/// The fields of a line but for the one that addresses the record.
fn input(object: &Object, headings: &[String], line: &[String], without: Option<&str>) -> Input {
    let mut input = Map::new();
    for (heading, cell) in headings.iter().zip(line).filter(|(_, cell)| !cell.is_empty()) {
        if without.is_some_and(|without| heading.eq_ignore_ascii_case(without)) {
            continue;
        }
        if let Some((relationship, field)) = heading.split_once('.') {
            input.insert(relationship.to_owned(), json!({field: cell}));
            continue;
        }
        let value = match object.field(heading) {
            _ if cell == NULL => Value::Null,
            Some((_, field)) if field.kind != Kind::Id => from_text(field, cell),
            Some(_) | None => Value::String(cell.clone()),
        };
        input.insert(heading.clone(), value);
    }
    input
}

fn results(ingest: &Ingest, kind: &str) -> Result<Answer, Refusal> {
    if !matches!(ingest.job.phase, Phase::JobComplete | Phase::Failed | Phase::Aborted) {
        return Err(Refusal::new("INVALIDJOBSTATE", "The job is not complete"));
    }
    let (own, lines): (&[&str], &[Vec<String>]) = match kind.to_ascii_lowercase().as_str() {
        "successfulresults" => (&["sf__Id", "sf__Created"], &ingest.succeeded),
        "failedresults" => (&["sf__Id", "sf__Error"], &ingest.failed),
        "unprocessedrecords" => (&[], &ingest.unprocessed),
        _ => return Err(Refusal::not_found()),
    };
    let headings: Vec<String> =
        own.iter().map(|name| (*name).to_owned()).chain(ingest.headings.iter().cloned()).collect();
    Ok(csv(&headings, lines.iter().map(Vec::as_slice), &ingest.job))
}
