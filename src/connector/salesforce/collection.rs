//! An opened object (layer 4): what source and target share, and how its records are read.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;

use super::catalogue::{Field, Object};
use super::errors::{Place, Reason};
use super::org::{Ask, Content, Org};
use super::{bulk, ids, soql, values};
use crate::config::Endpoint;
use crate::connector::{Bulk, OpenOptions};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Layout, Record, layout};
use crate::value::{Kind, Value};

/// Records that one request reads by their ids.
const READ_MAX: usize = 2000;

/// From how many records on jobs are worth it, unless `bulk_threshold` says otherwise.
const BULK_THRESHOLD: u64 = 10_000;
/// A job costs about as many requests as collections of so many records.
const BULK_LEAST: usize = 2_000;
/// Records of one job that loads.
const BULK_BATCH: usize = 20_000;
/// So many written records are remembered by their hashes.
const BLANK_MAX: usize = 2_000_000;
/// The longest time that a job may take. It is half of the endpoint's timeout at most: whatever did not come of it is done without one.
const JOB_TIME_MAX: Duration = Duration::from_secs(3600);

/// A record as it is answered: fields by name, beside `attributes`.
pub(super) type Row = HashMap<String, Box<RawValue>>;

/// One page of a query.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// Pages may be smaller than asked: only this says whether it was the last.
    pub(super) done: bool,
    #[serde(default)]
    next_records_url: Option<String>,
    pub(super) records: Vec<Row>,
    /// Records of all pages.
    pub(super) total_size: u64,
    /// The server's clock, microseconds since 1970.
    #[serde(skip)]
    pub(super) at: Option<i64>,
}

/// What is known of the records that copies write.
#[derive(Debug, Default)]
enum Blank {
    #[default]
    Unknown,
    /// None is there but those of these hashes.
    But(HashSet<u64>),
    Not,
}

/// What it comes to where no field is given for names.
pub(super) const NO_NAMES: &str = "creates carry no name of tidelock's: one whose answer is lost and that somebody renames before the next look \
    is made a second time. An external id field for such names, in \"external_id\", closes that, and lets loads go by jobs";

/// A field of the object.
///
/// # Errors
/// `SchemaMismatch` where there is none.
fn field<'a>(object: &'a Object, place: &Place, name: &str) -> Result<&'a Field> {
    let text = || format!("there is no field {name} that this user may see");
    object.field(name).ok_or_else(|| place.error(ErrorKind::SchemaMismatch, "salesforce.no_field", text()))
}

/// The external id that tidelock may fill with names of creates; `None` where none is given, or a mapping fills it.
///
/// # Errors
/// `SchemaMismatch` where what is given is no external id, or may not be written.
pub(super) fn token_field<'a>(
    object: &'a Object,
    place: &Place,
    endpoint: &Endpoint,
    mapped: &[impl AsRef<str>],
) -> Result<Option<&'a Field>> {
    let Some(name) = &endpoint.external_id else { return Ok(None) };
    let field = field(object, place, name)?;
    if !field.is_external_id() || !field.is_writable() {
        let text = format!("\"external_id\" names {}, which is no external id that this user may write", field.name);
        return Err(place.error(ErrorKind::SchemaMismatch, "salesforce.external_id", text));
    }
    let free = !mapped.iter().any(|name| name.as_ref() == field.name) && field.kind == Kind::Text;
    Ok(free.then_some(field))
}

/// An opened object.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) org: Arc<Org>,
    pub(super) object: Arc<Object>,
    pub(super) place: Place,
    /// The opened fields, in the order of the layout.
    pub(super) fields: Vec<Field>,
    pub(super) layout: Layout,
    pub(super) correlation: Vec<String>,
    /// Row filter, in parentheses.
    pub(super) filter: Option<String>,
    /// The external id that tidelock may fill with a name of its own for a create.
    pub(super) token_field: Option<Field>,
    pub(super) overlap: Duration,
    /// From how many records on jobs are worth it; 0: never.
    bulk_threshold: u64,
    /// How long a job may take.
    pub(super) job_time: Duration,
    /// Set once no job of an earlier run can be at work any more.
    earlier: OnceCell<()>,
    warned: std::sync::Once,
    /// What a load of a copy knows without looking.
    blank: tokio::sync::Mutex<Blank>,
}

impl Collection {
    /// Opens an object.
    ///
    /// # Errors
    /// Where a field is not there, or the filter is no condition.
    pub(super) async fn open(endpoint: &Endpoint, options: OpenOptions) -> Result<Self> {
        let org = Org::of(endpoint)?;
        let object = org.object(&endpoint.collection).await?;
        let place = org.place(&object.name);
        let field = |name: &String| field(&object, &place, name).cloned();
        let fields = options.fields.iter().map(field).collect::<Result<Vec<_>>>()?;
        let token_field = token_field(&object, &place, endpoint, &options.fields)?.cloned();
        let filter = endpoint.filter.as_ref().map(|filter| format!("({filter})"));
        let collection = Self {
            layout: layout(&options.fields),
            correlation: options.correlation,
            overlap: options.overlap,
            bulk_threshold: endpoint.bulk_threshold.unwrap_or(BULK_THRESHOLD),
            job_time: endpoint.timeout.map_or(JOB_TIME_MAX, |timeout| JOB_TIME_MAX.min(timeout / 2)),
            earlier: OnceCell::new(),
            warned: std::sync::Once::new(),
            blank: tokio::sync::Mutex::default(),
            org,
            object: Arc::clone(&object),
            place: place.clone(),
            fields,
            filter,
            token_field,
        };
        collection.check_filter().await?;
        Ok(collection)
    }

    /// How many records go by jobs, where a record can be told by what it is upserted by.
    pub(super) fn bulk(&self) -> Option<Bulk> {
        let by = self.token_field.is_some() || self.copied_by().is_some();
        let least = usize::try_from(self.bulk_threshold).map_or(BULK_LEAST, |threshold| threshold.min(BULK_LEAST));
        let bulk = Bulk { from: self.bulk_threshold, least, batch: BULK_BATCH };
        (by && self.bulk_threshold > 0).then_some(bulk)
    }

    /// Whether so many records are loaded by jobs.
    pub(super) fn is_bulk(&self, records: usize) -> bool {
        self.bulk().is_some_and(|bulk| records >= bulk.least)
    }

    /// Whether a scan of so many records is done by a job. Compound fields are not in its results.
    pub(super) fn is_read_by_job(&self, records: u64) -> bool {
        let compound = self.fields.iter().any(|field| field.kind == Kind::Json);
        self.bulk_threshold > 0 && records >= self.bulk_threshold && !compound
    }

    /// The external id that copies are upserted by.
    pub(super) fn copied_by(&self) -> Option<&Field> {
        match self.correlation.as_slice() {
            [one] => self.object.field(one).filter(|field| field.is_external_id()),
            _ => None,
        }
    }

    /// Says once that creates carry no name of ours.
    pub(super) fn warn_of_no_names(&self) {
        self.warned.call_once(|| tracing::warn!(place = %self.place, "{NO_NAMES}"));
    }

    /// Returns once no job of an earlier run writes by this field any more: asked once, before the first write.
    pub(super) async fn settle_earlier(&self, by: &Field) -> Result<()> {
        self.earlier.get_or_try_init(|| bulk::earlier::settle(self, by)).await.copied()
    }

    /// Whether nothing can be there of these values: no record had one when it was first asked, and these were not written since.
    pub(super) async fn is_blank_of(&self, by: &Field, keys: &[Key]) -> Result<bool> {
        let mut blank = self.blank.lock().await;
        if matches!(*blank, Blank::Unknown) {
            let soql = format!("SELECT Id FROM {} WHERE {} != null LIMIT 1", self.object.name, by.name);
            let nothing = self.query("looking for records", &soql, false).await?.records.is_empty();
            *blank = if nothing { Blank::But(HashSet::new()) } else { Blank::Not };
        }
        let Blank::But(written) = &mut *blank else { return Ok(false) };
        let hashes: Vec<u64> =
            keys.iter().map(|key| BuildHasherDefault::<DefaultHasher>::default().hash_one(key)).collect();
        let is_blank = written.len() + hashes.len() <= BLANK_MAX && hashes.iter().all(|hash| !written.contains(hash));
        if is_blank {
            written.extend(hashes);
        } else {
            *blank = Blank::Not;
        }
        Ok(is_blank)
    }

    async fn check_filter(&self) -> Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let soql = format!("SELECT Id FROM {} WHERE {filter} LIMIT 1", self.object.name);
        match self.query("trying the filter", &soql, false).await {
            Err(error) if error.kind == ErrorKind::SchemaMismatch => {
                let text = "the filter is not a SOQL condition on this object";
                Err(self.place.error(error.kind, "salesforce.filter", text).caused_by(error))
            }
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// `SELECT … FROM …` of the opened fields and these.
    pub(super) fn select(&self, more: &[&str]) -> String {
        let opened = self.fields.iter().map(|field| field.name.as_str());
        let more = more.iter().copied().filter(|name| !self.layout.iter().any(|field| **field == **name));
        format!("SELECT {} FROM {}", opened.chain(more).collect::<Vec<_>>().join(", "), self.object.name)
    }

    /// ` AND (filter)`, or nothing.
    pub(super) fn and_filter(&self) -> String {
        self.filter.as_ref().map(|filter| format!(" AND {filter}")).unwrap_or_default()
    }

    /// The first page of a query; `deleted` ones too where that is asked.
    pub(super) async fn query(&self, doing: &'static str, soql: &str, deleted: bool) -> Result<Page> {
        let path = format!("{}?q={}", if deleted { "queryAll" } else { "query" }, soql::encoded(soql));
        self.page(doing, &path).await
    }

    /// The page behind this one, if there is one.
    pub(super) async fn next_page(&self, doing: &'static str, page: &Page) -> Result<Option<Page>> {
        match &page.next_records_url {
            Some(path) if !page.done && path.starts_with("/services/data/") => self.page(doing, path).await.map(Some),
            Some(_) | None => Ok(None),
        }
    }

    async fn page(&self, doing: &'static str, path: &str) -> Result<Page> {
        let answer = self.org.read(&self.place, Ask::get(doing, path)).await?;
        let mut page: Page = serde_json::from_slice(&answer.body).map_err(|error| self.place.garbled(doing, error))?;
        page.at = answer.at;
        Ok(page)
    }

    /// All rows of a query that finds few.
    pub(super) async fn rows(&self, doing: &'static str, soql: &str) -> Result<Vec<Row>> {
        let mut page = self.query(doing, soql, false).await?;
        let mut rows = std::mem::take(&mut page.records);
        while let Some(next) = self.next_page(doing, &page).await? {
            page = next;
            rows.append(&mut page.records);
        }
        Ok(rows)
    }

    /// How many records a condition lets through.
    pub(super) async fn count(&self) -> Result<u64> {
        let filter = self.filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        let soql = format!("SELECT COUNT() FROM {}{filter}", self.object.name);
        Ok(self.query("counting records", &soql, false).await?.total_size)
    }

    /// A field of a row as text.
    pub(super) fn text(row: &Row, name: &str) -> Option<String> {
        serde_json::from_str(row.get(name)?.get()).ok()
    }

    /// A row's id, in 18 characters.
    pub(super) fn id(&self, row: &Row) -> Result<String> {
        let id = Self::text(row, "Id").and_then(|id| ids::long(&id));
        id.ok_or_else(|| self.unreadable("Id"))
    }

    /// A record with the opened fields.
    pub(super) fn record(&self, row: &Row) -> Result<Record> {
        let value = |field: &Field| {
            // Where a query names a field that is null, it is answered as null.
            let raw = row.get(&field.name).ok_or_else(|| self.unreadable(&field.name))?;
            values::read(field, raw).map(Some).ok_or_else(|| self.unreadable(&field.name))
        };
        let values = self.fields.iter().map(value).collect::<Result<Vec<_>>>()?;
        Ok(Record::new(Layout::clone(&self.layout), values))
    }

    /// The error for a right that is gone. What the org said of the object before is no longer true.
    pub(super) fn rights_lost(&self, reason: &Reason) -> SyncError {
        self.org.forget_objects();
        reason.of_rights(&self.place)
    }

    pub(super) fn unreadable(&self, field: &str) -> SyncError {
        let text = format!("an answer holds no value of its type for {field}");
        self.place.error(ErrorKind::Internal, "salesforce.answer", text)
    }

    /// A key of one id; `None` where it is none: nothing has it.
    pub(super) fn id_of(key: &Key) -> Option<String> {
        match key.0.as_slice() {
            [Value::Text(id)] => ids::long(id.trim()),
            _ => None,
        }
    }

    /// The current rows of these ids, the filter not applied, with these fields; ids without a record are left out.
    pub(super) async fn retrieve(&self, ids: &[String], fields: &[&str]) -> Result<HashMap<String, Row>> {
        let doing = "reading records";
        let mut rows = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(READ_MAX) {
            let body = Content::json(json!({"ids": ids, "fields": fields}).to_string());
            let path = format!("composite/sobjects/{}", self.object.name);
            let ask = Ask { doing, method: Method::POST, path: &path, body: Some(body) };
            let answer = self.org.read(&self.place, ask).await?;
            let found: Vec<Option<Row>> =
                serde_json::from_slice(&answer.body).map_err(|error| self.place.garbled(doing, error))?;
            for row in found.into_iter().flatten() {
                rows.insert(self.id(&row)?, row);
            }
        }
        Ok(rows)
    }

    /// The current records of these ids, the filter not applied.
    pub(super) async fn current(&self, ids: &[String]) -> Result<HashMap<String, Record>> {
        let fields: Vec<&str> = self.layout.iter().map(|name| &**name).collect();
        let rows = self.retrieve(ids, &fields).await?;
        rows.into_iter().map(|(id, row)| Ok((id, self.record(&row)?))).collect()
    }
}
