//! PostgreSQL's errors in our terms (layer 4): the one place that reads SQLSTATEs
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
//!
//! Messages say what we were doing and where; what the server says is added without quoted values (I12).

use std::fmt;

use sqlx::postgres::PgDatabaseError;

use crate::connector::lost_connection::is_lost;
use crate::error::{ErrorKind, SyncError};
use crate::record::Key;

/// Result of the steps below the port, before translation.
pub(super) type Sql<T> = std::result::Result<T, sqlx::Error>;

/// What an error means for whoever retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// No connection, or a server that is busy with itself.
    Unavailable,
    /// Wrong user or password.
    Unauthenticated,
    /// A grant is missing.
    Permission,
    /// A standby, or a database set to read-only.
    ReadOnly,
    /// No such database.
    NoDatabase,
    /// Table, column, type or function are not as expected.
    Schema,
    /// The values of one record are refused.
    Data,
    /// Deadlock, serialization failure or lock timeout: the same again may work.
    Contention,
    /// Anything else.
    Other,
}

/// The server's code of an error.
pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

/// What the error means.
pub(super) fn class(error: &sqlx::Error) -> Class {
    if let sqlx::Error::Database(database) = error {
        return database.code().map_or(Class::Other, |code| class_of_state(&code));
    }
    if is_lost(error) {
        Class::Unavailable
    } else if matches!(error, sqlx::Error::RowNotFound | sqlx::Error::Encode(_)) {
        // Used by `write` for a record that cannot be told from others of its batch, and by `upsert` for one whose key is another's.
        Class::Data
    } else {
        Class::Other
    }
}

fn class_of_state(state: &str) -> Class {
    match state {
        "28000" | "28P01" => Class::Unauthenticated,
        "42501" => Class::Permission,
        "25006" => Class::ReadOnly,
        "3D000" => Class::NoDatabase,
        "40001" | "40P01" | "55P03" | "55006" => Class::Contention,
        "21000" | "54000" => Class::Data,
        // A plan that outlived an ALTER TABLE: the next try plans anew.
        "0A000" => Class::Unavailable,
        _ => match state.get(..2) {
            Some("08" | "53" | "57" | "58") => Class::Unavailable,
            Some("22" | "23" | "2F" | "38" | "39" | "44" | "P0") => Class::Data,
            Some("3F" | "42") => Class::Schema,
            _ => Class::Other,
        },
    }
}

/// Where we are: for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `host:port/database`.
    pub(super) server: String,
    /// `schema.table`, once it is known.
    pub(super) table: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres {}", self.server)?;
        self.table.as_ref().map_or(Ok(()), |table| write!(f, ", table {table}"))
    }
}

impl Place {
    /// An error of our own.
    pub(super) fn error(&self, kind: ErrorKind, code: &'static str, message: impl fmt::Display) -> SyncError {
        SyncError::new(kind, code, format!("{self}: {message}"))
    }

    /// Translates what happened while `doing`.
    pub(super) fn failed(&self, doing: &str, error: sqlx::Error) -> SyncError {
        let class = class(&error);
        let (kind, code) = kind_and_code(class);
        let text = if matches!(error, sqlx::Error::PoolTimedOut) {
            "no connection within the time allowed".to_owned()
        } else {
            said(&error)
        };
        // No cause is kept: the text says all of it, and a server's words may hold values.
        self.error(kind, code, format_args!("{doing}: {text}"))
    }

    /// Translates what the server said on a connection that is not sqlx's.
    pub(super) fn said(&self, doing: &str, state: &str, message: &str) -> SyncError {
        let class = class_of_state(state);
        let (kind, code) = kind_and_code(class);
        let message = if class == Class::Data { redact(message) } else { message.to_owned() };
        self.error(kind, code, format_args!("{doing}: {message} (SQLSTATE {state})"))
    }

    /// Translates why there is no connection, with what to look at.
    pub(super) fn unconnected(&self, error: sqlx::Error) -> SyncError {
        let advice = match class(&error) {
            Class::Unavailable => "; check that the server runs there, \"host\" and \"port\"",
            Class::Unauthenticated => "; check \"user\" and \"password\"",
            Class::NoDatabase => "; check \"database\"",
            Class::Permission | Class::ReadOnly | Class::Schema | Class::Data | Class::Contention | Class::Other => "",
        };
        let mut failed = self.failed("connecting", error);
        failed.message.push_str(advice);
        failed
    }

    /// The refusal of one record.
    pub(super) fn refused(&self, doing: &str, key: Option<&Key>, error: &sqlx::Error) -> SyncError {
        let record = key.map_or_else(|| "a record".to_owned(), |key| format!("record {key}"));
        self.error(
            ErrorKind::InvalidRecord,
            "postgres.invalid_record",
            format_args!("{doing} {record}: {}", said(error)),
        )
    }
}

fn kind_and_code(class: Class) -> (ErrorKind, &'static str) {
    match class {
        Class::Unavailable => (ErrorKind::Unavailable, "postgres.unavailable"),
        Class::Unauthenticated => (ErrorKind::Unauthenticated, "postgres.unauthenticated"),
        Class::Permission => (ErrorKind::PermissionDenied, "postgres.permission_denied"),
        Class::ReadOnly => (ErrorKind::PermissionDenied, "postgres.read_only"),
        Class::NoDatabase => (ErrorKind::SchemaMismatch, "postgres.no_database"),
        Class::Schema => (ErrorKind::SchemaMismatch, "postgres.schema"),
        Class::Data => (ErrorKind::InvalidRecord, "postgres.invalid_record"),
        Class::Contention => (ErrorKind::Unavailable, "postgres.contention"),
        Class::Other => (ErrorKind::Internal, "postgres.unexpected"),
    }
}

/// What the server said, without values, with the constraint and column it named.
pub(super) fn said(error: &sqlx::Error) -> String {
    if let sqlx::Error::Io(error) = error {
        return error.to_string();
    }
    if let sqlx::Error::Encode(error) = error {
        return error.to_string();
    }
    let sqlx::Error::Database(database) = error else { return error.to_string() };
    let Some(error) = database.try_downcast_ref::<PgDatabaseError>() else { return database.message().to_owned() };
    // Class 23 quotes names only; its values are in the detail, which is left out.
    let values = class_of_state(error.code()) == Class::Data && !error.code().starts_with("23");
    let mut text = if values { redact(error.message()) } else { error.message().to_owned() };
    for (what, name) in [("constraint", error.constraint()), ("column", error.column())] {
        if let Some(name) = name.filter(|name| !text.contains(name)) {
            text.push_str(&format!(" ({what} \"{name}\")"));
        }
    }
    format!("{text} (SQLSTATE {})", error.code())
}

/// Empties what stands between double quotes.
fn redact(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for (index, part) in message.split('"').enumerate() {
        if index % 2 == 0 {
            text.push_str(part);
        } else {
            text.push_str("\"…\"");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_of_messages() {
        assert_eq!(
            redact("invalid input syntax for type integer: \"a\"b\""),
            "invalid input syntax for type integer: \"…\"b\"…\""
        );
        assert_eq!(redact("value \"99999\" is out of range"), "value \"…\" is out of range");
    }

    #[test]
    fn states_are_sorted_by_what_can_be_done() {
        for (state, expected) in [
            ("08006", Class::Unavailable),
            ("57P01", Class::Unavailable),
            ("28P01", Class::Unauthenticated),
            ("42501", Class::Permission),
            ("3D000", Class::NoDatabase),
            ("42P01", Class::Schema),
            ("23505", Class::Data),
            ("22P02", Class::Data),
            ("P0001", Class::Data),
            ("40P01", Class::Contention),
            ("XX000", Class::Other),
        ] {
            assert_eq!(class_of_state(state), expected, "{state}");
        }
    }
}
