//! MySQL's and MariaDB's errors in our terms (layer 4): the one place that reads error numbers
//! (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>, <https://mariadb.com/kb/en/mariadb-error-code-reference/>).
//!
//! Messages say what we were doing and where; what the server says is added without values (I12).

use std::fmt;

use sqlx::mysql::MySqlDatabaseError;

use crate::connector::lost_connection::is_lost;
use crate::error::{ErrorKind, SyncError};
use crate::record::Key;

/// Result of the steps below the port, before translation.
pub(super) type Sql<T> = std::result::Result<T, sqlx::Error>;

/// "There is no such table."
const NO_TABLE: u16 = 1146;
/// Creating a trigger needs more than the grant, where the server writes a binary log.
const LOGGED_TRIGGER: u16 = 1419;
/// Equal values of a unique key.
const DUPLICATE: [u16; 4] = [1022, 1062, 1169, 1586];
/// Table or column is there already.
const THERE: [u16; 2] = [1050, 1060];
/// Messages that quote names only, no values.
const WITHOUT_VALUES: [u16; 8] = [1048, 1216, 1217, 1364, 1451, 1452, 3819, 4025];

/// What an error means for whoever retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// No connection, or a server that is busy with itself.
    Unavailable,
    /// Wrong user or password.
    Unauthenticated,
    /// A grant is missing.
    Permission,
    /// A replica, or a server set to read-only.
    ReadOnly,
    /// No such database.
    NoDatabase,
    /// Table, column or trigger are not as expected.
    Schema,
    /// The values of one record are refused.
    Data,
    /// Deadlock or lock timeout: the same again may work.
    Contention,
    /// Anything else.
    Other,
}

fn database_error(error: &sqlx::Error) -> Option<&MySqlDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
}

/// Whether the table that was asked does not exist.
pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| error.number() == NO_TABLE)
}

/// Whether what was to be made is there already.
pub(super) fn is_there(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| THERE.contains(&error.number()))
}

/// Whether a record with the same unique values exists.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| DUPLICATE.contains(&error.number()))
}

/// What the error means.
pub(super) fn class(error: &sqlx::Error) -> Class {
    if let Some(error) = database_error(error) {
        return class_of(error.number(), error.code().unwrap_or_default());
    }
    if is_lost(error) {
        Class::Unavailable
    } else if matches!(error, sqlx::Error::RowNotFound) {
        // Used by `write` for a record that is not found under the key that it was given.
        Class::Data
    } else {
        Class::Other
    }
}

fn class_of(number: u16, state: &str) -> Class {
    match number {
        // Too many connections, shutdown, killed, too many of this user's, interrupted.
        1040 | 1053 | 1129 | 1203 | 1226 | 1317 | 1927 | 3024 => Class::Unavailable,
        1045 | 1698 | 1820 | 1862 | 4151 => Class::Unauthenticated,
        1044 | 1142 | 1143 | 1227 | 1370 | LOGGED_TRIGGER => Class::Permission,
        1290 | 1792 | 1836 => Class::ReadOnly,
        1049 => Class::NoDatabase,
        1020 | 1205 | 1213 | 3572 => Class::Contention,
        // Too large for a packet or a row; no default; refused by a trigger; not of the character set.
        1118 | 1153 | 1265 | 1292 | 1300 | 1364 | 1366 | 1406 | 1411 | 1416 | 1525 | 1644 | 1690 | 3819 | 4025 => {
            Class::Data
        }
        1051 | 1054 | 1064 | 1136 | NO_TABLE | 1305 | 1360 => Class::Schema,
        _ => match state.get(..2) {
            Some("08") => Class::Unavailable,
            Some("22" | "23" | "45") => Class::Data,
            Some("40") => Class::Contention,
            Some("42") => Class::Schema,
            _ => Class::Other,
        },
    }
}

/// Where we are: for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `host:port/database`.
    pub(super) server: String,
    /// The table, once it is known.
    pub(super) table: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mysql {}", self.server)?;
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
        let (kind, code) = kind_and_code(class(&error));
        let text = if matches!(error, sqlx::Error::PoolTimedOut) {
            "no connection within the time allowed".to_owned()
        } else {
            said(&error)
        };
        let advice = match database_error(&error).map(MySqlDatabaseError::number) {
            Some(LOGGED_TRIGGER) => "; set log_bin_trust_function_creators = 1, or grant SUPER",
            _ => "",
        };
        // No cause is kept: the text says all of it, and a server's words may hold values.
        self.error(kind, code, format_args!("{doing}: {text}{advice}"))
    }

    /// Translates what a server says over a connection that sqlx has no part in.
    pub(super) fn said(&self, doing: &str, number: u16, state: &str, message: &str) -> SyncError {
        let (kind, code) = kind_and_code(class_of(number, state));
        self.error(kind, code, format_args!("{doing}: {message} (error {number})"))
    }

    /// Translates why there is no connection, with what to look at.
    pub(super) fn unconnected(&self, error: sqlx::Error) -> SyncError {
        let advice = match class(&error) {
            Class::Unauthenticated => "check credentials.user and credentials.password",
            Class::NoDatabase => "check credentials.database",
            Class::Unavailable => "check credentials.host and credentials.port, and that the server runs",
            Class::Permission => "grant the user access to the database",
            Class::ReadOnly | Class::Schema | Class::Data | Class::Contention | Class::Other => {
                return self.failed("connecting", error);
            }
        };
        let (kind, code) = kind_and_code(class(&error));
        self.error(kind, code, format_args!("connecting: {}; {advice}", said(&error)))
    }

    /// The error of one record that the server refuses.
    pub(super) fn refused(&self, doing: &str, key: Option<&Key>, error: &sqlx::Error) -> SyncError {
        let text = format!("{doing} {}: {}", record_name(key), said(error));
        self.error(ErrorKind::InvalidRecord, "mysql.invalid_record", text)
    }

    /// The error of one record whose value its column cannot keep.
    pub(super) fn unfit(&self, doing: &str, key: Option<&Key>, field: &str, why: &str) -> SyncError {
        let text = format!("{doing} {}: the value of {field} {why}", record_name(key));
        self.error(ErrorKind::InvalidRecord, "mysql.unfit_value", text)
    }
}

fn record_name(key: Option<&Key>) -> String {
    key.map_or_else(|| "a record".to_owned(), |key| format!("record {key}"))
}

fn kind_and_code(class: Class) -> (ErrorKind, &'static str) {
    match class {
        Class::Unavailable => (ErrorKind::Unavailable, "mysql.unavailable"),
        Class::Unauthenticated => (ErrorKind::Unauthenticated, "mysql.unauthenticated"),
        Class::Permission => (ErrorKind::PermissionDenied, "mysql.permission_denied"),
        Class::ReadOnly => (ErrorKind::PermissionDenied, "mysql.read_only"),
        Class::NoDatabase => (ErrorKind::SchemaMismatch, "mysql.no_database"),
        Class::Schema => (ErrorKind::SchemaMismatch, "mysql.schema"),
        Class::Data => (ErrorKind::InvalidRecord, "mysql.invalid_record"),
        Class::Contention => (ErrorKind::Unavailable, "mysql.contention"),
        Class::Other => (ErrorKind::Internal, "mysql.unexpected"),
    }
}

/// What the server said, without values.
pub(super) fn said(error: &sqlx::Error) -> String {
    if let sqlx::Error::Io(error) = error {
        return error.to_string();
    }
    if matches!(error, sqlx::Error::RowNotFound) {
        return "it is not found again under its key; does a trigger change the key?".to_owned();
    }
    let Some(error) = database_error(error) else { return error.to_string() };
    let (number, state) = (error.number(), error.code().unwrap_or_default());
    let text = if class_of(number, state) == Class::Data && !WITHOUT_VALUES.contains(&number) {
        without_values(error.message())
    } else {
        error.message().to_owned()
    };
    format!("{text} (error {number})")
}

/// Empties what stands between single quotes, but for the name of a column or key at the end.
fn without_values(message: &str) -> String {
    let named = [" for key ", " for column "].iter().filter_map(|mark| message.rfind(mark)).max();
    let (before, name) = message.split_at_checked(named.unwrap_or(message.len())).unwrap_or((message, ""));
    let Some((start, rest)) = before.split_once('\'') else { return message.to_owned() };
    let end = rest.rsplit_once('\'').map_or("", |(_, end)| end);
    format!("{start}'…'{end}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_of_messages() {
        for (message, expected) in [
            ("Duplicate entry 'it's ' for key ' me' for key 'email'", "Duplicate entry '…' for key 'email'"),
            (
                "Incorrect integer value: 'x' for column `d`.`t`.`age` at row 1",
                "Incorrect integer value: '…' for column `d`.`t`.`age` at row 1",
            ),
            ("Data too long for column 'name' at row 1", "Data too long for column 'name' at row 1"),
            ("Incorrect DECIMAL value: 'a'", "Incorrect DECIMAL value: '…'"),
            ("no ann's", "no ann'…'"),
        ] {
            assert_eq!(without_values(message), expected);
        }
    }

    #[test]
    fn numbers_are_sorted_by_what_can_be_done() {
        for (number, state, expected) in [
            (2013, "08S01", Class::Unavailable),
            (1040, "08004", Class::Unavailable),
            (1045, "28000", Class::Unauthenticated),
            (1142, "42000", Class::Permission),
            (1049, "42000", Class::NoDatabase),
            (1146, "42S02", Class::Schema),
            (1062, "23000", Class::Data),
            (1366, "HY000", Class::Data),
            (1644, "45000", Class::Data),
            (1213, "40001", Class::Contention),
            (1205, "HY000", Class::Contention),
            (1105, "HY000", Class::Other),
        ] {
            assert_eq!(class_of(number, state), expected, "{number}");
        }
    }
}
