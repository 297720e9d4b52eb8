//! A statement and its arguments, built side by side (layer 4).

use sqlx::Arguments;
use sqlx::sqlite::SqliteArguments;

use super::connection::{execute, rows};
use super::errors::Sql;
use super::table::{Fields, all};
use super::values::Raw;
use crate::connector::change_log::quote;
use crate::record::Key;

/// A statement that grows.
#[derive(Debug, Default)]
pub(super) struct Statement {
    sql: String,
    arguments: SqliteArguments,
}

impl Statement {
    /// Begins with `sql`.
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), arguments: SqliteArguments::default() }
    }

    /// Adds SQL.
    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Adds an argument; its placeholder.
    pub(super) fn bind(&mut self, raw: Raw) -> Sql<String> {
        raw.bind(&mut self.arguments)?;
        Ok(format!("?{}", self.arguments.len()))
    }

    /// Adds a condition that only the record of `key` meets.
    ///
    /// Every field is compared twice: with the column's own collation, which can use its index, and bytewise, which is what a key is.
    pub(super) fn push_key(&mut self, fields: &Fields, key: &Key) -> Sql<()> {
        let mut terms = Vec::new();
        for (name, forms) in fields.layout.iter().zip(fields.forms(key)) {
            let column = quote(name);
            let holders = forms.into_iter().map(|raw| self.bind(raw)).collect::<Sql<Vec<_>>>()?;
            terms.push(match holders.as_slice() {
                [one] => format!("{column} = {one} AND {column} = {one} COLLATE BINARY"),
                many => {
                    let many = many.join(", ");
                    format!("{column} IN ({many}) AND {column} COLLATE BINARY IN ({many})")
                }
            });
        }
        // A key of another length is nobody's.
        let condition = if terms.len() == fields.len() { all(terms) } else { "FALSE".to_owned() };
        self.push(&condition);
        Ok(())
    }

    /// Runs it; all its rows.
    pub(super) async fn rows(self, connection: &mut sqlx::SqliteConnection) -> Sql<Vec<sqlx::sqlite::SqliteRow>> {
        rows(connection, &self.sql, self.arguments).await
    }

    /// Runs it; how many rows it changed.
    pub(super) async fn execute(self, connection: &mut sqlx::SqliteConnection) -> Sql<u64> {
        execute(connection, &self.sql, self.arguments).await
    }
}
