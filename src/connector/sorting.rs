//! Records in an order that their system does not know (layer 3): sorted in parts, each in a file without a name, which are merged as they are
//! read. Memory holds one part, however many records there are.

use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::{Key, Layout, Record, decode_values, encode_values};
use crate::value::Value;

/// Records of one part.
const PART: usize = 50_000;

/// Takes records in any order.
pub struct Sorter {
    layout: Layout,
    fields: Vec<String>,
    as_text: bool,
    part: usize,
    waiting: Vec<(Key, Record)>,
    files: Vec<File>,
}

impl Sorter {
    /// For records of this layout, in the order of these fields: by the values, or by their canonical texts.
    pub fn new(layout: Layout, fields: Vec<String>, as_text: bool) -> Self {
        Self { layout, fields, as_text, part: PART, waiting: Vec::new(), files: Vec::new() }
    }

    /// Adds records; those with a null among the fields are left out.
    ///
    /// # Errors
    /// Where a part cannot be put aside.
    pub fn add(&mut self, records: Vec<Record>) -> io::Result<()> {
        for record in records {
            let Some(key) = self.key(&record) else { continue };
            self.waiting.push((key, record));
            if self.waiting.len() >= self.part {
                self.put_aside()?;
            }
        }
        Ok(())
    }

    fn key(&self, record: &Record) -> Option<Key> {
        let key = record.key(&self.fields)?;
        let text = |value: &Value| Value::Text(value.to_text().unwrap_or_default());
        Some(if self.as_text { Key(key.0.iter().map(text).collect()) } else { key })
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.waiting.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut writer = BufWriter::new(nameless()?);
        for (_, record) in self.waiting.drain(..) {
            let bytes = encode_values(record.values());
            let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
            writer.write_all(&length.to_le_bytes())?;
            writer.write_all(&bytes)?;
        }
        let mut file = writer.into_inner()?;
        file.seek(SeekFrom::Start(0))?;
        self.files.push(file);
        Ok(())
    }

    /// All of them, in order.
    ///
    /// # Errors
    /// Where a part cannot be read.
    pub fn sorted(mut self) -> io::Result<Sorted> {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by(|(one, _), (other, _)| one.cmp(other));
        let files = std::mem::take(&mut self.files).into_iter().map(|file| Part::File(BufReader::new(file)));
        let parts: Vec<Part> = files.chain([Part::Memory(waiting.into_iter())]).collect();
        let mut sorted = Sorted { sorter: self, parts, heads: BinaryHeap::new() };
        for part in 0..sorted.parts.len() {
            sorted.pull(part)?;
        }
        Ok(sorted)
    }
}

/// A file that its owner alone may read, and that is gone when it is closed.
fn nameless() -> io::Result<File> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let name = format!("tidelock-sort-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

enum Part {
    File(BufReader<File>),
    Memory(std::vec::IntoIter<(Key, Record)>),
}

/// The next record of a part. The greatest is that of the smallest key: the heap gives the greatest first.
struct Head {
    key: Key,
    part: usize,
    record: Record,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&other.key, other.part).cmp(&(&self.key, self.part))
    }
}

/// Records in order.
pub struct Sorted {
    sorter: Sorter,
    parts: Vec<Part>,
    heads: BinaryHeap<Head>,
}

impl Sorted {
    /// The next record of a part becomes its head.
    fn pull(&mut self, part: usize) -> io::Result<()> {
        let damaged = || io::Error::from(ErrorKind::InvalidData);
        let (key, record) = match self.parts.get_mut(part) {
            Some(Part::Memory(records)) => match records.next() {
                Some(next) => next,
                None => return Ok(()),
            },
            Some(Part::File(reader)) => {
                let mut length = [0; 4];
                match reader.read_exact(&mut length) {
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                    read => read?,
                }
                let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).map_err(|_| damaged())?];
                reader.read_exact(&mut bytes)?;
                let values = decode_values(&bytes).map_err(|_| damaged())?;
                let record = Record::new(Layout::clone(&self.sorter.layout), values);
                (self.sorter.key(&record).ok_or_else(damaged)?, record)
            }
            None => return Ok(()),
        };
        self.heads.push(Head { key, part, record });
        Ok(())
    }

    fn take(&mut self) -> io::Result<Option<Record>> {
        let Some(Head { part, record, .. }) = self.heads.pop() else { return Ok(None) };
        self.pull(part)?;
        Ok(Some(record))
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::layout;

    fn sorted(part: usize, numbers: impl Iterator<Item = i64>, as_text: bool) -> Vec<i64> {
        let layout = layout(["n", "more"]);
        let mut sorter = Sorter { part, ..Sorter::new(Layout::clone(&layout), vec!["n".to_owned()], as_text) };
        let record = |number: i64| {
            let value = if number < 0 { Value::Null } else { Value::Int(number) };
            Record::new(
                Layout::clone(&layout),
                vec![Some(value), (number % 2 == 0).then_some(Value::Text("é".to_owned()))],
            )
        };
        for number in numbers {
            sorter.add(vec![record(number)]).unwrap();
        }
        let numbers = sorter.sorted().unwrap().map(|found| {
            let found = found.unwrap();
            let Some(Value::Int(number)) = found.get("n").cloned() else { panic!("it has none") };
            assert_eq!(found.get("more").is_some(), number % 2 == 0, "absent stays absent");
            number
        });
        numbers.collect()
    }

    #[test]
    fn parts_make_no_difference() {
        let mixed = || (0..1000).map(|number| number * 617 % 1000).chain([-1, -1]);
        let expected: Vec<i64> = (0..1000).collect();
        let mut by_text = expected.clone();
        by_text.sort_by_key(i64::to_string);
        for part in [1, 7, 1000, 5000] {
            assert_eq!(sorted(part, mixed(), false), expected, "{part}");
            assert_eq!(sorted(part, mixed(), true), by_text, "{part}");
        }
        assert!(sorted(3, std::iter::empty(), false).is_empty());
        assert_eq!(sorted(2, [5, 5, 1, 5].into_iter(), false), [1, 5, 5, 5]);
    }
}
