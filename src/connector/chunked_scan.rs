//! Scans that a task of their own reads ahead, for connectors of servers: the task sends chunks, the reader takes as many records as it asks
//! for.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::Scan;
use crate::error::Result;
use crate::record::Record;

/// Records that are handed over at a time.
pub const CHUNK_RECORDS: usize = 512;
/// Chunks that may wait.
const CHUNKS_AHEAD: usize = 4;

/// Some records, or why there are no more.
pub type Chunk = Result<Vec<Record>>;

/// A running scan. Dropping it ends its task at the next chunk.
pub struct ChunkedScan {
    chunks: mpsc::Receiver<Chunk>,
    /// Read, but not asked for yet.
    rest: Vec<Record>,
    resumable: bool,
}

impl ChunkedScan {
    /// A scan, and where its chunks are sent to; `resumable` as [`Scan::resumable`].
    pub fn new(resumable: bool) -> (mpsc::Sender<Chunk>, Self) {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        (sender, Self { chunks, rest: Vec::new(), resumable })
    }
}

/// `None` where nobody reads any more.
pub async fn send(sender: &mpsc::Sender<Chunk>, chunk: Chunk) -> Option<()> {
    sender.send(chunk).await.ok()
}

/// Sends what is there once it is a chunk; `None` where nobody reads any more.
pub async fn send_full(sender: &mpsc::Sender<Chunk>, records: &mut Vec<Record>) -> Option<()> {
    if records.len() < CHUNK_RECORDS {
        return Some(());
    }
    send(sender, Ok(std::mem::replace(records, Vec::with_capacity(CHUNK_RECORDS)))).await
}

#[async_trait]
impl Scan for ChunkedScan {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        while self.rest.len() < max {
            match self.chunks.recv().await {
                Some(chunk) if self.rest.is_empty() => self.rest = chunk?,
                Some(chunk) => self.rest.append(&mut chunk?),
                None => break,
            }
        }
        let after = self.rest.split_off(max.min(self.rest.len()));
        Ok(std::mem::replace(&mut self.rest, after))
    }

    fn resumable(&self) -> bool {
        self.resumable
    }
}
