//! SQLite's errors in our terms (layer 4): the one place that reads result codes (<https://www.sqlite.org/rescode.html>).
//!
//! SQLite's own messages name tables, columns and constraints, never values, so they are passed on (I12).

use std::borrow::Cow;
use std::fmt;

use crate::error::{ErrorKind, SyncError};
use crate::record::Key;

/// Result of the steps below the port, before translation.
pub(super) type Sql<T> = std::result::Result<T, sqlx::Error>;

/// What an error means for whoever retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Another program holds the lock for longer than we wait.
    Busy,
    /// Disk full, I/O error, file gone: may pass.
    Unavailable,
    /// File or folder may not be written.
    Permission,
    /// Not a database, or one of another format.
    NotADatabase,
    /// The file is damaged.
    Corrupt,
    /// Table, column or function are not as expected.
    Schema,
    /// The values of one record are refused.
    Data,
    /// Anything else.
    Other,
}

/// What the error means.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, of which only these matter")]
pub(super) fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => Class::Unavailable,
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse().ok()).unwrap_or(0);
            class_of_code(code, database.message())
        }
        _ => Class::Other,
    }
}

fn class_of_code(code: i32, message: &str) -> Class {
    // The low byte is the primary code.
    match code & 0xff {
        // BUSY, LOCKED
        5 | 6 => Class::Busy,
        // NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL, SCHEMA
        7 | 9 | 10 | 13 | 14 | 15 | 17 => Class::Unavailable,
        // PERM, READONLY, AUTH
        3 | 8 | 23 => Class::Permission,
        // NOTADB, FORMAT
        24 | 26 => Class::NotADatabase,
        11 => Class::Corrupt,
        // TOOBIG, CONSTRAINT, MISMATCH
        18..=20 => Class::Data,
        // ERROR: either the statement does not fit the schema, or an expression in a trigger, CHECK or generated column failed.
        1 if is_about_schema(message) => Class::Schema,
        1 => Class::Data,
        _ => Class::Other,
    }
}

fn is_about_schema(message: &str) -> bool {
    [
        "no such",
        "has no column",
        "syntax error",
        "ambiguous column",
        "does not match any",
        "cannot modify",
        "cannot INSERT",
        "cannot UPDATE",
    ]
    .iter()
    .any(|part| message.contains(part))
}

/// Whether what was to be made is there already.
pub(super) fn is_there(error: &sqlx::Error) -> bool {
    let message = error.as_database_error().map(sqlx::error::DatabaseError::message);
    message.is_some_and(|text| text.contains("already exists") || text.contains("duplicate column name"))
}

/// Where we are: for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The file.
    pub(super) file: String,
    /// The table, once it is known.
    pub(super) table: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite {}", self.file)?;
        self.table.as_ref().map_or(Ok(()), |table| write!(f, ", table {table}"))
    }
}

impl Place {
    /// An error of our own.
    pub(super) fn error(&self, kind: ErrorKind, code: &'static str, message: impl fmt::Display) -> SyncError {
        SyncError::new(kind, code, format!("{self}: {message}"))
    }

    /// Translates what happened while `doing`.
    pub(super) fn failed(&self, doing: &str) -> impl FnOnce(sqlx::Error) -> SyncError {
        let text = format!("{self}: {doing}");
        move |error| {
            let (kind, code, hint) = kind_code_hint(class(&error));
            SyncError::new(kind, code, format!("{text}: {}{hint}", said(&error))).caused_by(error)
        }
    }

    /// The refusal of one record by the database.
    pub(super) fn refused(&self, doing: &str, key: Option<&Key>, error: &sqlx::Error) -> SyncError {
        let record = record(key);
        self.error(ErrorKind::InvalidRecord, "sqlite.invalid_record", format_args!("{doing} {record}: {}", said(error)))
    }

    /// A value that SQLite would not give back as it is.
    pub(super) fn unfit(&self, key: Option<&Key>, field: &str, why: &str) -> SyncError {
        let record = record(key);
        self.error(ErrorKind::InvalidRecord, "sqlite.unfit_value", format_args!("{record}, column {field}: {why}"))
    }
}

fn record(key: Option<&Key>) -> String {
    key.map_or_else(|| "a record".to_owned(), |key| format!("record {key}"))
}

fn kind_code_hint(class: Class) -> (ErrorKind, &'static str, &'static str) {
    match class {
        Class::Busy => (ErrorKind::Unavailable, "sqlite.busy", "; another program holds the database locked"),
        Class::Unavailable => (ErrorKind::Unavailable, "sqlite.unavailable", ""),
        Class::Permission => {
            (ErrorKind::PermissionDenied, "sqlite.permission_denied", "; the file and its folder have to be writable")
        }
        Class::NotADatabase => (ErrorKind::SchemaMismatch, "sqlite.not_a_database", ""),
        Class::Corrupt => (ErrorKind::Internal, "sqlite.corrupt", "; see `PRAGMA integrity_check`"),
        Class::Schema => (ErrorKind::SchemaMismatch, "sqlite.schema", ""),
        Class::Data => (ErrorKind::InvalidRecord, "sqlite.invalid_record", ""),
        Class::Other => (ErrorKind::Internal, "sqlite.unexpected", ""),
    }
}

/// What SQLite said.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, of which only these matter")]
pub(super) fn said(error: &sqlx::Error) -> Cow<'_, str> {
    match error {
        sqlx::Error::Database(database) => Cow::Borrowed(database.message()),
        _ => Cow::Owned(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_can_be_done() {
        for (code, message, expected) in [
            (5, "database is locked", Class::Busy),
            (517, "database is locked", Class::Busy),
            (13, "database or disk is full", Class::Unavailable),
            (1032, "attempt to write a readonly database", Class::Permission),
            (26, "file is not a database", Class::NotADatabase),
            (11, "database disk image is malformed", Class::Corrupt),
            (2067, "UNIQUE constraint failed: t.a", Class::Data),
            (1, "no such column: x", Class::Schema),
            (1, "integer overflow", Class::Data),
            (21, "bad parameter or other API misuse", Class::Other),
        ] {
            assert_eq!(class_of_code(code, message), expected, "{code} {message}");
        }
    }
}
