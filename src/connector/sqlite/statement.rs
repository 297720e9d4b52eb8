//! A statement and its arguments, built side by side (layer 4).

use sqlx::Arguments;
use sqlx::sqlite::SqliteArguments;

use super::connection::{execute, rows};
use super::errors::Sql;
use super::table::Fields;
use super::values::Raw;
use crate::connector::change_log::quote;
use crate::record::Key;

/// A statement that grows. Arguments are bound in the order of their placeholders: sqlx looks up numbered ones by name, which SQLite
/// answers by a search through all of them.
#[derive(Debug, Default)]
pub(super) struct Statement {
    sql: String,
    raws: Vec<Raw>,
}

impl Statement {
    /// Begins with `sql`.
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), raws: Vec::new() }
    }

    /// Adds SQL.
    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Adds a placeholder and its argument.
    pub(super) fn push_bind(&mut self, raw: Raw) {
        self.sql.push('?');
        self.raws.push(raw);
    }

    /// Adds placeholders with commas between them, and their arguments.
    pub(super) fn push_binds(&mut self, raws: impl IntoIterator<Item = Raw>) {
        for (index, raw) in raws.into_iter().enumerate() {
            if index > 0 {
                self.sql.push_str(", ");
            }
            self.push_bind(raw);
        }
    }

    /// Adds a condition that only the record of `key` meets.
    ///
    /// Every field is compared twice: with the column's own collation, which can use its index, and bytewise, which is what a key is.
    pub(super) fn push_key(&mut self, fields: &Fields, key: &Key) {
        if key.0.len() != fields.len() {
            // A key of another length is nobody's.
            self.push("FALSE");
            return;
        }
        for (index, (name, forms)) in fields.layout.iter().zip(fields.forms(key)).enumerate() {
            let column = quote(name);
            if index > 0 {
                self.push(" AND ");
            }
            let (equals, end) = if forms.len() == 1 { (" = ", "") } else { (" IN (", ")") };
            self.push(&format!("{column}{equals}"));
            self.push_binds(forms.iter().cloned());
            self.push(&format!("{end} AND {column} COLLATE BINARY{equals}"));
            self.push_binds(forms);
            self.push(end);
        }
    }

    /// Whether both have the same text, so that one prepared statement does for both.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.sql == other.sql
    }

    /// Adds another statement, to be run after this one.
    pub(super) fn append(&mut self, other: Self) {
        self.sql.push(';');
        self.sql.push_str(&other.sql);
        self.raws.extend(other.raws);
    }

    /// Runs it; all its rows.
    pub(super) async fn rows(self, connection: &mut sqlx::SqliteConnection) -> Sql<Vec<sqlx::sqlite::SqliteRow>> {
        rows(connection, self.sql, arguments(self.raws)?).await
    }

    /// Runs it; how many rows it changed.
    pub(super) async fn execute(self, connection: &mut sqlx::SqliteConnection) -> Sql<u64> {
        execute(connection, self.sql, arguments(self.raws)?).await
    }
}

/// The arguments of a statement.
pub(super) fn arguments(raws: Vec<Raw>) -> Sql<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(raws.len(), 0);
    for raw in raws {
        raw.bind(&mut arguments)?;
    }
    Ok(arguments)
}
