//! Reads records by many keys at once (layer 4): a list of values joined to the table through its index.

use sqlx::{Row, SqliteConnection};

use super::Opened;
use super::errors::Sql;
use super::statement::Statement;
use super::table::Fields;
use super::values::Raw;
use crate::connector::change_log::{all, list, quote};
use crate::record::{Key, Record};

/// Keys in one statement. Few sizes, so that few statements have to be prepared; the rest is filled up with nulls.
const SIZES: [usize; 3] = [1, 16, 128];
const LARGEST: usize = 128;

/// A table of one row per key: ordinal and the key's fields.
pub(super) struct Asked {
    /// Index of the key that a row belongs to. A value that can be spelt in several ways has several rows.
    owners: Vec<usize>,
    spellings: Vec<Vec<Raw>>,
}

impl Asked {
    /// Every spelling of every key.
    pub(super) fn new(by: &Fields, keys: &[Key]) -> Self {
        let (mut owners, mut spellings) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        for (index, key) in keys.iter().enumerate() {
            // A key of another length is nobody's.
            if key.0.len() != by.len() {
                continue;
            }
            for spelling in product(by.forms(key)) {
                owners.push(index);
                spellings.push(spelling);
            }
        }
        Self { owners, spellings }
    }

    /// Statements that begin with the list of keys as `tidelock_q(tidelock_i, tidelock_0, …)`, and go on with `rest`; each with the
    /// indexes of the keys that its ordinals stand for.
    pub(super) fn statements(&self, width: usize, rest: &str) -> Vec<(Statement, &[usize])> {
        let mut statements = Vec::new();
        for (owners, spellings) in self.owners.chunks(LARGEST).zip(self.spellings.chunks(LARGEST)) {
            let size = SIZES.into_iter().find(|size| *size >= spellings.len()).unwrap_or(LARGEST);
            let names = list((0..width).map(|field| format!("tidelock_{field}")));
            let mut statement = Statement::new(format!("WITH tidelock_q(tidelock_i, {names}) AS (VALUES "));
            for row in 0..size {
                statement.push(if row == 0 { "(" } else { ", (" });
                statement.push(&row.to_string());
                for field in 0..width {
                    let raw = spellings.get(row).and_then(|spelling| spelling.get(field)).cloned().unwrap_or(Raw::Null);
                    statement.push(", ");
                    statement.push_bind(raw);
                }
                statement.push(")");
            }
            statement.push(") ");
            statement.push(rest);
            statements.push((statement, owners));
        }
        statements
    }
}

/// Every choice of one element per list.
fn product(lists: Vec<Vec<Raw>>) -> Vec<Vec<Raw>> {
    lists.into_iter().fold(vec![Vec::new()], |heads, list| {
        heads
            .iter()
            .flat_map(|head| list.iter().map(|last| head.iter().cloned().chain([last.clone()]).collect()))
            .collect()
    })
}

/// As [`joined`], but by what the columns take for equal.
pub(super) fn equal(by: &Fields, table: &str) -> String {
    all(by.layout.iter().enumerate().map(|(field, name)| format!("{table}.{} = tidelock_{field}", quote(name))))
}

/// The condition that joins a row of `tidelock_q` to `table`: by index, then bytewise.
pub(super) fn joined(by: &Fields, table: &str) -> String {
    all(by.layout.iter().enumerate().map(|(field, name)| {
        let column = format!("{table}.{}", quote(name));
        format!("{column} = tidelock_{field} AND {column} = tidelock_{field} COLLATE BINARY")
    }))
}

/// The records whose fields `by` have these values, for each key all that match.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    opened: &Opened,
    by: &Fields,
    keys: &[Key],
    filter: &str,
) -> Sql<Vec<Vec<Record>>> {
    let table = opened.table.quoted();
    // CROSS JOIN keeps the order: the list outside, the table's index inside.
    let rest = format!(
        "SELECT tidelock_i, {} FROM tidelock_q CROSS JOIN {table} WHERE {}{filter}",
        opened.fields.select(&opened.table),
        joined(by, &table)
    );
    let mut found: Vec<Vec<Record>> = keys.iter().map(|_| Vec::new()).collect();
    for (statement, owners) in Asked::new(by, keys).statements(by.len(), &rest) {
        for row in statement.rows(connection).await? {
            let ordinal: i64 = row.try_get(0)?;
            let owner = usize::try_from(ordinal).ok().and_then(|ordinal| owners.get(ordinal)).copied();
            if let Some(slot) = owner.and_then(|owner| found.get_mut(owner)) {
                slot.push(opened.fields.record(&row, 1)?);
            }
        }
    }
    Ok(found)
}
