//! What a system keeps of our writes in the transaction that does them (layer 3): its form, the same in every system. After a crash it says
//! which writes were done, and what the system made of them.

use super::{Write, WriteOutcome};
use crate::record::{DecodeError, Layout, Packer, Record, Unpacker};

/// Under what it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a> {
    /// The run of the state store that gave the number: where a state file was restored, numbers are given again.
    pub run: &'a str,
    /// Number of the intention.
    pub number: i64,
    /// Marks of smaller numbers will never be asked for again.
    pub since: i64,
    /// Place of the first of the writes among those of the intention.
    pub first: usize,
}

/// A kept mark: place of the first write, and what [`kept`] made.
pub type Kept = (usize, Vec<u8>);

const NOT_DONE: u8 = 0;
const AS_ASKED: u8 = 1;
const OTHERWISE: u8 = 2;

/// What is kept of writes and their outcomes: a byte for each, and where a system stored something else than it was asked to (it made the
/// key, trimmed, rounded, filled in) these fields.
pub fn kept<'a>(writes: &[Write], outcomes: impl IntoIterator<Item = Option<&'a WriteOutcome>>) -> Vec<u8> {
    let mut packer = Packer::default();
    for (write, outcome) in writes.iter().zip(outcomes) {
        match outcome {
            Some(WriteOutcome::Applied { stored, .. }) => {
                match stored.as_ref().and_then(|stored| otherwise(write, stored)) {
                    Some(fields) => {
                        packer.byte(OTHERWISE);
                        packer.record(&fields);
                    }
                    None => packer.byte(AS_ASKED),
                }
            }
            Some(WriteOutcome::Changed | WriteOutcome::Failed(_)) | None => packer.byte(NOT_DONE),
        }
    }
    packer.finish()
}

/// The fields that are stored otherwise than was asked or assumed; `None` where there are none. What an update neither sets nor assumes
/// says nothing.
fn otherwise(write: &Write, stored: &Record) -> Option<Record> {
    let differs = |name: &str, value: &crate::value::Value| match write {
        Write::Create { record, .. } => record.get(name) != Some(value),
        Write::Update { fields, guard, .. } => {
            let asked = fields.get(name).or_else(|| guard.as_ref()?.get(name));
            asked.is_some_and(|asked| asked != value)
        }
        Write::Delete { .. } => false,
    };
    let values = stored.layout().iter().map(|name| stored.get(name).filter(|value| differs(name, value)).cloned());
    let fields = Record::new(Layout::clone(stored.layout()), values.collect());
    (!fields.is_empty()).then_some(fields)
}

/// Says that a system keeps no marks: a pair by polling asks for no rights but those on its table.
pub fn warn_of_none(table: &str) {
    tracing::warn!(
        table,
        "no table of marks can be made beside it: after a crash, what was written is told by comparing"
    );
}

/// What became of each of the `count` writes of an intention, by its marks: `None` where it was not done, else the fields that the system
/// stored otherwise than it was asked to.
///
/// # Errors
/// Where a mark cannot be read.
pub fn fates(marks: &[Kept], count: usize) -> Result<Vec<Option<Option<Record>>>, DecodeError> {
    let mut fates = vec![None; count];
    for (first, bytes) in marks {
        let mut unpacker = Unpacker::new(bytes)?;
        let mut place = *first;
        while !unpacker.is_empty() {
            let fate = match unpacker.byte()? {
                NOT_DONE => None,
                AS_ASKED => Some(None),
                OTHERWISE => Some(Some(unpacker.record()?)),
                _ => return Err(DecodeError),
            };
            if let Some(slot) = fates.get_mut(place) {
                *slot = fate;
            }
            place += 1;
        }
    }
    Ok(fates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Key;
    use crate::value::Value;

    fn record(id: Option<i64>, name: &str) -> Record {
        let id = id.map(|id| ("id", Value::Int(id)));
        Record::of(id.into_iter().chain([("name", Value::Text(name.to_owned()))]))
    }

    #[test]
    fn marks_say_what_was_done_and_what_became_of_it() {
        let key = Key(vec![Value::Int(7)]);
        let update = |guard| Write::Update { key: key.clone(), fields: record(None, "a"), guard };
        let writes = [
            Write::Create { record: record(None, "a") },
            update(None),
            update(Some(record(Some(7), "b"))),
            update(None),
            Write::Delete { key: key.clone(), guard: None },
        ];
        let applied = |stored| WriteOutcome::Applied { key: key.clone(), stored };
        let outcomes = [
            applied(Some(record(Some(7), "a"))),
            applied(Some(record(Some(7), "A"))),
            applied(Some(record(Some(7), "a"))),
            WriteOutcome::Changed,
            applied(None),
        ];
        let bytes = kept(&writes, outcomes.iter().map(Some));
        let found = fates(&[(1, bytes)], 7).unwrap();
        let fields = |fate: &Option<Option<Record>>| {
            let fields = fate.as_ref()?.as_ref()?;
            Some(fields.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect::<Vec<_>>())
        };
        assert_eq!((&found[0], &found[4], &found[6]), (&None, &None, &None), "not under this mark, changed, none such");
        assert_eq!(fields(&found[1]), Some(vec![("id".to_owned(), Value::Int(7))]), "the key was made");
        assert_eq!(fields(&found[2]), Some(vec![("name".to_owned(), Value::Text("A".to_owned()))]));
        assert_eq!((&found[3], &found[5]), (&Some(None), &Some(None)), "as asked");
    }

    #[test]
    fn a_damaged_mark_is_an_error() {
        assert_eq!(fates(&[(0, vec![0, 0, 0, 0, 0, 0, 0, 0, 9])], 1), Err(DecodeError));
    }
}
