//! The source half (layer 4): changes by (`SystemModstamp`, `Id`), deletes with them as long as they are in the recycle bin, and by `deleted`
//! for those that are not.
//!
//! A record is stamped inside its transaction and seen once that has ended, so each pass begins the overlap before the newest stamp seen.
//! Stamps are whole seconds: what the last passes delivered is remembered by its content, so that an idle object delivers nothing.
//! What was deleted for good, or in a bin that was emptied, is told by `deleted` for 15 days; it is asked when the source begins and
//! every ten minutes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::catalogue::STAMP;
use super::collection::{Collection, Page, Row};
use super::org::Ask;
use super::target::capabilities;
use super::{ids, soql, values};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::polling::Delivered;
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result};
use crate::record::{Key, encode_values};
use crate::value::Value;

/// How often deletes are asked for that leave no record behind.
const SWEEP: Duration = Duration::from_secs(600);
/// Windows of `deleted` are cut to minutes.
const MINUTE: i64 = 60_000_000;
const DOING: &str = "polling";

/// Where a poll stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spot {
    /// Grows with each batch that delivered something, so that no two positions are mistaken for each other.
    batch: u64,
    /// The newest stamp of all finished passes, microseconds since 1970; none where there was no record.
    pub(super) newest: Option<i64>,
    /// Stamp and id of the last record of the page before, inside a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) page: Option<(i64, String)>,
    /// Deletes before this are known.
    swept: Option<i64>,
}

/// Polls an object.
pub(super) struct PollSource {
    collection: Arc<Collection>,
    /// Told by their content.
    delivered: Delivered<u64>,
    /// How long passes are apart, once somebody has waited for one.
    interval: Option<Duration>,
    /// When the next pass is due; until then, others that look do not cost requests.
    due: Option<Instant>,
    sweep_due: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    deleted_records: Vec<DeletedRecord>,
    earliest_date_available: String,
    latest_date_covered: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletedRecord {
    id: String,
    deleted_date: String,
}

impl PollSource {
    /// A source of an opened object.
    pub(super) fn new(collection: Arc<Collection>) -> Self {
        Self { collection, delivered: Delivered::default(), interval: None, due: None, sweep_due: Instant::now() }
    }

    fn read(&self, position: &Position) -> Result<Spot> {
        serde_json::from_str(&position.0).map_err(|_| {
            let text = "the stored position is not one of this connector; load the pair again (tidelock resync)";
            self.collection.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", text)
        })
    }

    /// The rows of one step: at most `max`, fewer where a page broke off; and whether more may follow.
    async fn rows(&self, spot: &Spot, max: usize) -> Result<(Vec<Row>, bool)> {
        let overlap = i64::try_from(self.collection.overlap.as_micros()).unwrap_or(i64::MAX);
        let mut conditions = Vec::new();
        if let Some((stamp, id)) = &spot.page {
            let (stamp, id) = (soql::instant(*stamp), soql::quoted(id));
            conditions.push(format!("(({STAMP} = {stamp} AND Id > {id}) OR {STAMP} > {stamp})"));
        } else if let Some(newest) = spot.newest {
            conditions.push(format!("{STAMP} >= {}", soql::instant(newest.saturating_sub(overlap))));
        }
        let condition = conditions.pop().map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        let select = self.collection.select(&["Id", STAMP, "IsDeleted"]);
        let soql = format!("{select}{condition} ORDER BY {STAMP}, Id LIMIT {max}");
        let mut page: Page = self.collection.query(DOING, &soql, true).await?;
        let mut rows = std::mem::take(&mut page.records);
        while !page.done && rows.len() < max {
            match self.collection.next_page(DOING, &page).await {
                Ok(Some(next)) => page = next,
                Ok(None) => break,
                // What was read so far is a step of its own; the next goes on behind it.
                Err(error) if error.code == "salesforce.locator" && !rows.is_empty() => return Ok((rows, true)),
                Err(error) => return Err(error),
            }
            rows.append(&mut page.records);
        }
        let more = rows.len() >= max;
        Ok((rows, more))
    }

    /// One step of a pass, or the first of a new one, and whether more belong to it.
    ///
    /// # Errors
    /// Where the object cannot be read, or deletes are not known any more.
    pub(super) async fn step(&mut self, spot: &mut Spot, max: usize) -> Result<(Vec<Change>, bool)> {
        let mut changes = Vec::new();
        if spot.page.is_none() && self.sweep_due <= Instant::now() {
            changes = self.sweep(spot).await?;
        }
        let (rows, more) = self.rows(spot, max.max(1)).await?;
        changes.extend(self.fresh(&rows)?);
        let last = rows.last().map(|row| Ok((self.stamp(row)?, self.collection.id(row)?))).transpose()?;
        if more {
            spot.page = last;
        } else {
            // A pass whose last page is empty ended with the row before it.
            let last = last.or(spot.page.take()).map(|(stamp, _)| stamp);
            spot.newest = spot.newest.max(last);
            self.delivered.forget_before(spot.newest, self.collection.overlap);
        }
        spot.batch += u64::from(!changes.is_empty());
        Ok((changes, more))
    }

    /// Where a pass would begin that finds everything from now on.
    ///
    /// # Errors
    /// Where the object cannot be read.
    pub(super) async fn begin(&mut self) -> Result<Spot> {
        let soql = format!("SELECT Id, {STAMP} FROM {} ORDER BY {STAMP} DESC LIMIT 1", self.collection.object.name);
        let page = self.collection.query("asking for the newest stamp", &soql, true).await?;
        let newest = page.records.first().map(|row| self.stamp(row)).transpose()?;
        self.delivered.clear();
        // What lies in the overlap is delivered once more: a load that begins now reads it anyway.
        let swept = page.at.unwrap_or_else(crate::telemetry::clock::now_micros);
        Ok(Spot { newest, swept: Some(swept), ..Spot::default() })
    }

    /// Forgets what was delivered: another reader begins.
    pub(super) fn forget(&mut self) {
        self.delivered.clear();
    }

    /// When deletes are asked for next that leave no record behind.
    pub(super) fn sweep_due(&self) -> Instant {
        self.sweep_due
    }

    fn stamp(&self, row: &Row) -> Result<i64> {
        let stamp = Collection::text(row, STAMP).and_then(|text| values::instant(&text));
        stamp.ok_or_else(|| self.collection.unreadable(STAMP))
    }

    /// The changes among these rows that were not delivered before.
    fn fresh(&mut self, rows: &[Row]) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, stamp) = (self.collection.id(row)?, self.stamp(row)?);
            let deleted = row.get("IsDeleted").is_some_and(|raw| raw.get() == "true");
            let record = self.collection.record(row)?;
            let mut hasher = DefaultHasher::new();
            (stamp, deleted, encode_values(record.values())).hash(&mut hasher);
            let key = Key(vec![Value::Text(id)]);
            if !self.delivered.is_new(&key, hasher.finish(), Some(stamp)) {
                continue;
            }
            let op = if deleted { Op::Delete } else { Op::Upsert };
            // Whether the filter lets it through is for `fetch` to say: a record that has left it is a change, too.
            let image = (!deleted && self.collection.filter.is_none()).then_some(record);
            changes.push(Change { key, op, at: Some(stamp), image });
        }
        Ok(changes)
    }

    /// Deletes since the last sweep.
    async fn sweep(&mut self, spot: &mut Spot) -> Result<Vec<Change>> {
        self.sweep_due = Instant::now() + SWEEP;
        let collection = &self.collection;
        let Some(since) = spot.swept else { return Ok(Vec::new()) };
        // The end lies ahead: what is covered is in the answer.
        let end = crate::telemetry::clock::now_micros().saturating_add(MINUTE).max(since + 2 * MINUTE);
        let [start, end] = [since, end].map(|micros| soql::encoded(&soql::instant(micros - micros.rem_euclid(MINUTE))));
        let path = format!("sobjects/{}/deleted/?start={start}&end={end}", collection.object.name);
        let lost = |text: &str| {
            let text = format!(
                "deletes before this moment are not known any more ({text}); `tidelock resync` compares both sides in full"
            );
            collection.place.error(ErrorKind::SchemaMismatch, "salesforce.deletes_lost", text)
        };
        let doing = "asking for deletes";
        let answer = match collection.org.read(&collection.place, Ask::get(doing, &path)).await {
            Err(error) if error.message.contains("INVALID_REPLICATION_DATE") => {
                return Err(lost("more than 15 days passed"));
            }
            other => other?,
        };
        let deleted: Deleted =
            serde_json::from_slice(&answer.body).map_err(|error| collection.place.garbled(doing, error))?;
        let time = |text: &str, name: &str| values::instant(text).ok_or_else(|| collection.unreadable(name));
        let earliest = time(&deleted.earliest_date_available, "earliestDateAvailable")?;
        if earliest - earliest.rem_euclid(MINUTE) > since {
            return Err(lost("the org has purged its list of them"));
        }
        spot.swept = Some(time(&deleted.latest_date_covered, "latestDateCovered")?.max(since));
        let change = |record: &DeletedRecord| {
            let id = ids::long(&record.id).ok_or_else(|| collection.unreadable("id"))?;
            let at = Some(time(&record.deleted_date, "deletedDate")?);
            Ok(Change { key: Key(vec![Value::Text(id)]), op: Op::Delete, at, image: None })
        };
        deleted.deleted_records.iter().map(change).collect()
    }
}

#[async_trait]
impl Source for PollSource {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.collection)
    }

    async fn prepare(&mut self) -> Result<String> {
        let (organization, _) = self.collection.org.identity().await?;
        Ok(format!("polling:{STAMP}:{organization}"))
    }

    async fn remove(&mut self) -> Result<()> {
        Ok(())
    }

    async fn head(&mut self) -> Result<Position> {
        let spot = self.begin().await?;
        Ok(self.delivered.issue(&spot))
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let mut spot = self.read(after)?;
        if !self.delivered.goes_on(after) {
            self.due = None;
        }
        if spot.page.is_none() && self.due.is_some_and(|due| due > Instant::now()) {
            return Ok(ChangeBatch { changes: Vec::new(), through: after.clone(), more: false });
        }
        let (changes, more) = self.step(&mut spot, max).await?;
        if !more {
            self.due = self.interval.map(|interval| Instant::now() + interval);
        }
        Ok(ChangeBatch { changes, through: self.delivered.issue(&spot), more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.interval = Some(timeout);
        let due = *self.due.get_or_insert_with(|| Instant::now() + timeout);
        tokio::time::sleep_until(due).await;
        Ok(())
    }

    async fn acknowledge(&mut self, _through: &Position) -> Result<()> {
        Ok(())
    }
}
