//! Reads a whole object (layer 4). By key: page by page, by a task of its own; a page that cannot be had any more is asked for anew, from behind
//! the last record. An object of many records is read by a job (`bulk/query`), where one can be had. By other fields: Salesforce orders texts by the user's language, so all is read and sorted here, in parts on disk.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use super::collection::Collection;
use super::{bulk, soql};
use crate::connector::chunked_scan::{CHUNK_RECORDS, Chunk, ChunkedScan, send, send_full};
use crate::connector::sorting::Sorter;
use crate::connector::{Scan, ScanOrder};
use crate::error::{ErrorKind, Result};
use crate::record::{KeyRange, Layout, Record};

const DOING: &str = "scanning";
/// Locators that are lost in a row before that is an error.
const LOST_MAX: u32 = 5;

/// Starts a scan.
pub(super) fn open(collection: Arc<Collection>, order: ScanOrder) -> Box<dyn Scan> {
    // Results of jobs are in no order.
    let (sender, scan) = ChunkedScan::new(false);
    tokio::spawn(async move {
        let done = match order {
            ScanOrder::Key(_) => by_key(&collection, &sender).await,
            ScanOrder::Fields { fields, as_text } => sorted(collection, &sender, fields, as_text).await,
        };
        if let Err(error) = done {
            // Nobody reads any more: nobody is to be told.
            let _told = send(&sender, Err(error)).await;
        }
    });
    Box::new(scan)
}

async fn by_key(collection: &Collection, sender: &Sender<Chunk>) -> Result<()> {
    let mut walk = Walk::new(collection);
    let mut waiting = walk.next().await?.unwrap_or_default();
    // The first page says how many there are. It is what goes on where no job can be had.
    if collection.is_read_by_job(walk.total()) && bulk::query::read(collection, sender).await? {
        return Ok(());
    }
    while send_full(sender, &mut waiting).await.is_some() {
        let Some(mut records) = walk.next().await? else {
            let _told = send(sender, Ok(waiting)).await;
            return Ok(());
        };
        waiting.append(&mut records);
    }
    Ok(())
}

async fn sorted(collection: Arc<Collection>, sender: &Sender<Chunk>, fields: Vec<String>, as_text: bool) -> Result<()> {
    let place = collection.place.clone();
    let failed = |error: std::io::Error| {
        place
            .error(ErrorKind::Unavailable, "salesforce.sort", "sorting records in the folder for temporary files")
            .caused_by(error)
    };
    let mut sorter = Sorter::new(Layout::clone(&collection.layout), fields, as_text);
    let mut scan = open(collection, ScanOrder::Key(KeyRange::ALL));
    loop {
        let records = scan.next(CHUNK_RECORDS).await?;
        if records.is_empty() {
            break;
        }
        sorter.add(records).map_err(failed)?;
    }
    let mut waiting = Vec::new();
    for record in sorter.sorted().map_err(failed)? {
        waiting.push(record.map_err(failed)?);
        if send_full(sender, &mut waiting).await.is_none() {
            return Ok(());
        }
    }
    let _told = send(sender, Ok(waiting)).await;
    Ok(())
}

/// All records in the order of their ids, a page at a time.
struct Walk<'a> {
    collection: &'a Collection,
    page: Option<super::collection::Page>,
    last: Option<String>,
    lost: u32,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn new(collection: &'a Collection) -> Self {
        Self { collection, page: None, last: None, lost: 0, ended: false }
    }

    /// How many records there are, as the last page said.
    fn total(&self) -> u64 {
        self.page.as_ref().map_or(0, |page| page.total_size)
    }

    async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        while !self.ended {
            let page = match &self.page {
                Some(page) => self.collection.next_page(DOING, page).await,
                None => self.begin().await.map(Some),
            };
            match page {
                Ok(Some(page)) => {
                    (self.lost, self.ended) = (0, page.done);
                    let records =
                        page.records.iter().map(|row| self.collection.record(row)).collect::<Result<Vec<_>>>()?;
                    if let Some(row) = page.records.last() {
                        self.last = Some(self.collection.id(row)?);
                    }
                    self.page = Some(page);
                    return Ok(Some(records));
                }
                Ok(None) => self.ended = true,
                Err(error) if error.code == "salesforce.locator" && self.lost < LOST_MAX => {
                    self.lost += 1;
                    self.page = None;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The first page behind the last record.
    async fn begin(&self) -> Result<super::collection::Page> {
        let after = self.last.as_ref().map(|id| format!("Id > {}", soql::quoted(id)));
        let conditions: Vec<&str> = after.iter().chain(&self.collection.filter).map(String::as_str).collect();
        let condition =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let soql = format!("{}{condition} ORDER BY Id", self.collection.select(&["Id"]));
        self.collection.query(DOING, &soql, false).await
    }
}
