//! Queries over HTTP: a page at a time, the rest behind a locator.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::clock::DAY_MS;
use super::exchange::{Answer, Refusal};
use super::org::{Call, Org};
use super::soql::plan::{Found, Plan};
use super::soql::syntax::parse;

const PAGE: usize = 2000;
const PAGE_MIN: usize = 200;
/// As many queries may be read at the same time; the oldest is forgotten.
const CURSORS_MAX: usize = 50;
/// How long a locator is known.
const CURSOR_MS: i64 = 2 * DAY_MS;

/// What was found and is still to be read.
#[derive(Debug)]
struct Cursor {
    records: Vec<Value>,
    made_ms: i64,
}

/// All queries that are being read.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    open: BTreeMap<u64, Cursor>,
    made: u64,
}

/// `query` and `queryAll`.
pub(super) fn begin(org: &mut Org, call: &Call<'_>, deleted_too: bool) -> Result<Answer, Refusal> {
    let text = call.request.parameter("q").ok_or_else(|| Refusal::new("MALFORMED_QUERY", "no query was given"))?;
    let found = Plan::new(&parse(text)?, &org.seen)?.run(&org.store, deleted_too, call.version);
    let records = match found {
        Found::Count(count) => return Ok(Answer::ok(&json!({"totalSize": count, "done": true, "records": []}))),
        Found::Records(records) => records,
    };
    org.cursors.made += 1;
    let number = org.cursors.made;
    let cursor = Cursor { records, made_ms: org.clock.now_ms() };
    let answer = page(call, &cursor, number, 0);
    if answer.1 {
        if org.cursors.open.len() >= CURSORS_MAX {
            org.cursors.open.pop_first();
        }
        org.cursors.open.insert(number, cursor);
    }
    Ok(Answer::ok(&answer.0))
}

/// The page that a locator names.
pub(super) fn go_on(org: &Org, call: &Call<'_>, locator: &str) -> Result<Answer, Refusal> {
    let invalid = || Refusal::new("INVALID_QUERY_LOCATOR", "invalid query locator");
    let (name, offset) = locator.rsplit_once('-').ok_or_else(invalid)?;
    let number: u64 = name.strip_prefix("01gHs").and_then(|number| number.parse().ok()).ok_or_else(invalid)?;
    let offset: usize = offset.parse().map_err(|_| invalid())?;
    let known = |cursor: &&Cursor| org.clock.now_ms() - cursor.made_ms < CURSOR_MS && offset <= cursor.records.len();
    let cursor = org.cursors.open.get(&number).filter(known).ok_or_else(invalid)?;
    if call.within.locator_expired {
        return Err(invalid());
    }
    Ok(Answer::ok(&page(call, cursor, number, offset).0))
}

/// One page, and whether more follow. It may be smaller than asked; `done` says whether it was the last.
fn page(call: &Call<'_>, cursor: &Cursor, number: u64, offset: usize) -> (Value, bool) {
    let asked = call.request.option("sforce-query-options", "batchSize").and_then(|size| size.parse().ok());
    let size = asked.unwrap_or(PAGE).clamp(PAGE_MIN, PAGE).min(call.within.page_max.unwrap_or(PAGE)).max(1);
    let records: Vec<&Value> = cursor.records.iter().skip(offset).take(size).collect();
    let next = offset + records.len();
    let more = next < cursor.records.len();
    let mut page = json!({"totalSize": cursor.records.len(), "done": !more, "records": records});
    if let (true, Some(page)) = (more, page.as_object_mut()) {
        let url = format!("/services/data/{}/query/01gHs{number:013}-{next}", call.version);
        page.insert("nextRecordsUrl".to_owned(), json!(url));
    }
    (page, more)
}
