//! The key ranges that one side is read by: a task for each, all into one channel, and how far the batches of each are done.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::change::Change;
use crate::connector::{Scan, ScanOrder, Target};
use crate::error::Result;
use crate::record::{Key, KeyRange, Record};

/// Batches that are read ahead, of all ranges together, or one of each where there are more ranges.
const AHEAD: usize = 2;

/// A batch: the place of its range, and its number in that.
pub(super) type Place = (usize, usize);

/// A batch that was read, and the place of its range. The end of a range is an empty one.
pub(super) type Read = (usize, Result<Vec<Record>>);

/// A side that is being read.
pub(super) struct Ranges {
    /// What was read, of whichever range came first.
    pub(super) batches: mpsc::Receiver<Read>,
    reached: Vec<Reached>,
    /// Whether scans keep to ranges.
    resumable: bool,
    /// Batches before which all of their range are done, since that was last kept.
    since: usize,
}

impl Ranges {
    /// Begins to read what is `left`, `max` records at a time.
    pub(super) async fn read(target: &dyn Target, mut left: Vec<KeyRange>, max: usize) -> Result<Self> {
        let mut scans = open(target, &left).await?;
        let resumable = scans.iter().all(|scan| scan.resumable());
        if !resumable && scans.len() > 1 {
            // Each of them would read everything.
            left = vec![KeyRange::ALL];
            scans = open(target, &left).await?;
        }
        let (sender, batches) = mpsc::channel(AHEAD.max(scans.len()));
        for (place, scan) in scans.into_iter().enumerate() {
            tokio::spawn(read_ahead(scan, max, (place, sender.clone())));
        }
        let reached = left.into_iter().map(Reached::new).collect();
        Ok(Self { batches, reached, resumable, since: 0 })
    }

    /// The place of a batch that begins.
    pub(super) fn begin(&mut self, range: usize, changes: &[Change]) -> Place {
        let last = changes.last().map(|change| change.key.clone());
        (range, self.reached.get_mut(range).zip(last).map_or(0, |(reached, last)| reached.begin(last)))
    }

    /// A batch is done.
    pub(super) fn done(&mut self, (range, number): Place) {
        self.since += self.reached.get_mut(range).map_or(0, |reached| reached.done(number));
    }

    /// A range was read to its end; whether others were not.
    pub(super) fn ended(&mut self, range: usize) -> bool {
        if let Some(reached) = self.reached.get_mut(range) {
            reached.read = true;
        }
        self.reached.iter().any(|reached| !reached.read)
    }

    /// What is left, once so many batches more are done; `None` where that is not to be kept.
    pub(super) fn left(&mut self, every: usize) -> Option<Vec<KeyRange>> {
        if !self.resumable || self.since < every {
            return None;
        }
        self.since = 0;
        let left = self.reached.iter().filter(|reached| !reached.is_through());
        // Nothing left: the next side is kept in its place.
        Some(left.map(|reached| reached.left.clone()).collect()).filter(|left: &Vec<KeyRange>| !left.is_empty())
    }
}

async fn open(target: &dyn Target, ranges: &[KeyRange]) -> Result<Vec<Box<dyn Scan>>> {
    let mut scans = Vec::with_capacity(ranges.len());
    for range in ranges {
        scans.push(target.scan(ScanOrder::Key(range.clone())).await?);
    }
    Ok(scans)
}

/// Reads a range to its end, or an error, or until nobody wants it any more. A batch is taken from the scan once there is room for it, so
/// that those of all ranges together are not more.
async fn read_ahead(mut scan: Box<dyn Scan>, max: usize, (range, batches): (usize, mpsc::Sender<Read>)) {
    while let Ok(room) = batches.reserve().await {
        let records = scan.next(max).await;
        let last = records.as_ref().map_or(true, Vec::is_empty);
        room.send((range, records));
        if last {
            return;
        }
    }
}

/// How far the batches of a range are done.
struct Reached {
    /// What is left of the range.
    left: KeyRange,
    /// Whether it was read to its end.
    read: bool,
    /// Batches before which all are done.
    before: usize,
    /// The last key of each batch from there on, and whether it is done.
    batches: VecDeque<(Key, bool)>,
}

impl Reached {
    fn new(left: KeyRange) -> Self {
        Self { left, read: false, before: 0, batches: VecDeque::new() }
    }

    /// The number of a batch that begins and ends with this key.
    fn begin(&mut self, last: Key) -> usize {
        self.batches.push_back((last, false));
        self.before + self.batches.len() - 1
    }

    /// How many batches more all are done before.
    fn done(&mut self, number: usize) -> usize {
        if let Some((_, done)) = number.checked_sub(self.before).and_then(|place| self.batches.get_mut(place)) {
            *done = true;
        }
        let before = self.before;
        while let Some((key, _)) = self.batches.pop_front_if(|(_, done)| *done) {
            self.left.after = Some(key);
            self.before += 1;
        }
        self.before - before
    }

    fn is_through(&self) -> bool {
        self.read && self.batches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Op;
    use crate::value::Value;

    fn key(id: i64) -> Key {
        Key(vec![Value::Int(id)])
    }

    fn range(after: Option<i64>, until: Option<i64>) -> KeyRange {
        KeyRange { after: after.map(key), until: until.map(key) }
    }

    fn up_to(id: i64) -> Vec<Change> {
        vec![Change { key: key(id), op: Op::Upsert, at: None, image: None }]
    }

    fn reading(ranges: Vec<KeyRange>) -> Ranges {
        let reached = ranges.into_iter().map(Reached::new).collect();
        Ranges { batches: mpsc::channel(1).1, reached, resumable: true, since: 0 }
    }

    #[test]
    fn cuts_leave_nothing_out() {
        assert_eq!(KeyRange::cut_at(Vec::new()), [KeyRange::ALL]);
        let cut = KeyRange::cut_at(vec![key(3), key(7)]);
        assert_eq!(cut, [range(None, Some(3)), range(Some(3), Some(7)), range(Some(7), None)]);
    }

    #[test]
    fn a_batch_counts_once_all_before_it_in_its_range_are_done() {
        let mut ranges = reading(KeyRange::cut_at(vec![key(100)]));
        let (a, b, c) = (ranges.begin(0, &up_to(10)), ranges.begin(1, &up_to(110)), ranges.begin(0, &up_to(20)));
        assert_eq!((a, b, c), ((0, 0), (1, 0), (0, 1)));
        ranges.done(c);
        assert_eq!(ranges.left(1), None, "the first of its range is not done");
        ranges.done(b);
        assert_eq!(ranges.left(1), Some(vec![range(None, Some(100)), range(Some(110), None)]));
        assert_eq!(ranges.left(1), None, "that is kept already");
        ranges.done(a);
        assert_eq!(ranges.left(3), None, "not enough to be kept");
        assert_eq!(ranges.left(2), Some(vec![range(Some(20), Some(100)), range(Some(110), None)]));
    }

    #[test]
    fn a_range_is_left_until_its_last_batch_is_done() {
        let mut ranges = reading(KeyRange::cut_at(vec![key(100)]));
        let (a, b) = (ranges.begin(0, &up_to(10)), ranges.begin(0, &up_to(100)));
        assert!(ranges.ended(0), "the other is read on");
        ranges.done(a);
        assert_eq!(ranges.left(1), Some(vec![range(Some(10), Some(100)), range(Some(100), None)]));
        ranges.done(b);
        assert_eq!(ranges.left(1), Some(vec![range(Some(100), None)]));
        let c = ranges.begin(1, &up_to(200));
        assert!(!ranges.ended(1));
        ranges.done(c);
        assert_eq!(ranges.left(1), None, "an empty list would be taken for a side that was not begun");
    }

    #[test]
    fn nothing_is_kept_of_scans_that_keep_to_no_range() {
        let mut ranges = Ranges { resumable: false, ..reading(vec![KeyRange::ALL]) };
        let batch = ranges.begin(0, &up_to(10));
        ranges.done(batch);
        assert_eq!(ranges.left(1), None);
    }
}
