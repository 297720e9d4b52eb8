//! How a database file is reached (layer 4): endpoint → path → connection options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::errors::Place;
use crate::config::Endpoint;
use crate::error::{ErrorKind, Result};

/// A database that another program writes to is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Statements kept prepared on each connection.
const STATEMENTS: usize = 64;
/// Rows that the connection's thread reads ahead.
const ROWS_AHEAD: usize = 256;

/// A database file that exists.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Absolute where that can be found out.
    pub(super) path: PathBuf,
    /// For messages.
    pub(super) place: Place,
}

impl File {
    /// Finds the file of `credentials.path` (or `url`: `sqlite://PATH`, or `database`). Never creates one.
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self> {
        let nowhere = Place { file: "(no file)".to_owned(), table: None };
        let given = given_path(endpoint)
            .map_err(|message| nowhere.error(ErrorKind::SchemaMismatch, "sqlite.options", message))?;
        let path = std::path::absolute(&given).unwrap_or(given);
        let place = Place { file: path.display().to_string(), table: None };
        match std::fs::File::open(&path) {
            Ok(_) if path.is_dir() => {
                Err(place.error(ErrorKind::SchemaMismatch, "sqlite.no_file", "this is a folder, not a database file"))
            }
            Ok(_) => Ok(Self { path, place }),
            Err(error) => Err(unreadable(&path, &place, &error)),
        }
    }

    /// Options for a connection that writes.
    pub(super) fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS)
            .row_buffer_size(ROWS_AHEAD)
            .thread_name(|index| format!("sqlite-{index}"))
            .disable_statement_logging()
    }

    /// Options for a connection that cannot write.
    pub(super) fn reading(&self) -> SqliteConnectOptions {
        self.options().pragma("query_only", "ON")
    }
}

fn given_path(endpoint: &Endpoint) -> std::result::Result<PathBuf, &'static str> {
    let credentials = &endpoint.credentials;
    let path = if let Some(path) = &credentials.path {
        path.clone()
    } else if let Some(url) = &credentials.url {
        let url = url.expose();
        let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
        PathBuf::from(path.ok_or("credentials.url is not of the form sqlite://PATH")?)
    } else if let Some(database) = &credentials.database {
        PathBuf::from(database)
    } else {
        return Err("no file is given: set \"path\"");
    };
    match path.to_str() {
        Some("" | ":memory:") => Err("the path must name a file: a database in memory has nothing to sync"),
        Some(text) if text.contains(['?', '\0']) => Err("the path must not hold '?' or NUL"),
        Some(_) => Ok(path),
        None => Err("the path is not Unicode"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum, of which only these matter")]
fn unreadable(path: &Path, place: &Place, error: &std::io::Error) -> crate::error::SyncError {
    let folder_is_there = path.parent().is_some_and(Path::is_dir);
    match error.kind() {
        std::io::ErrorKind::NotFound if folder_is_there => place.error(
            ErrorKind::SchemaMismatch,
            "sqlite.no_file",
            "there is no such file, and tidelock does not create databases: check \"path\" (relative ones start at the configuration's folder)",
        ),
        std::io::ErrorKind::PermissionDenied => {
            place.error(ErrorKind::PermissionDenied, "sqlite.permission_denied", "the file may not be read")
        }
        // A missing folder may be a disk that is not mounted yet.
        _ => place.error(ErrorKind::Unavailable, "sqlite.unavailable", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credentials, Location, Secret};

    fn endpoint(credentials: Credentials) -> Endpoint {
        Endpoint {
            at: Location::default(),
            system_type: "sqlite".to_owned(),
            name: "target".into(),
            collection: "t".to_owned(),
            filter: None,
            updated_at: None,
            key: Vec::new(),
            external_id: None,
            bulk_threshold: None,
            timeout: None,
            credentials,
        }
    }

    #[test]
    fn a_missing_file_is_named_and_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crm.db");
        let error =
            File::of(&endpoint(Credentials { path: Some(path.clone()), ..Credentials::default() })).unwrap_err();
        assert_eq!(error.code, "sqlite.no_file");
        assert!(error.message.contains(&path.display().to_string()));
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_folder_may_come_back() {
        let path = Some(PathBuf::from("/nonexistent/folder/crm.db"));
        let error = File::of(&endpoint(Credentials { path, ..Credentials::default() })).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }

    #[test]
    fn the_forms_of_a_path() {
        let of =
            |url: &str| given_path(&endpoint(Credentials { url: Some(Secret::new(url)), ..Credentials::default() }));
        assert_eq!(of("sqlite://a/b.db").unwrap(), PathBuf::from("a/b.db"));
        assert_eq!(of("sqlite:///a/b.db").unwrap(), PathBuf::from("/a/b.db"));
        assert_eq!(of("sqlite:b.db").unwrap(), PathBuf::from("b.db"));
        assert!(of("postgres://x").is_err());
        assert!(of("sqlite::memory:").is_err());
        assert!(of("sqlite://a.db?mode=rwc").is_err());
        assert!(given_path(&endpoint(Credentials::default())).is_err());
    }
}
