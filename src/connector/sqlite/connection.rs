//! Connections to one database file (layer 4): a few that read, one at a time that writes.
//!
//! A connection goes back to its lane only after everything went well. One whose use failed or was cancelled is closed, and SQLite
//! rolls back what it had begun.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, SqlSafeStr, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::{Place, Sql};
use super::options::File;
use crate::error::{ErrorKind, Result, SyncError};

/// Statements of one collection that read at the same time.
const READERS: usize = 3;

/// Writers of one file queue here, in order; SQLite's own waiting is by sleeping and trying again.
static WRITERS: LazyLock<Mutex<HashMap<PathBuf, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

/// One database file.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    identity: Identity,
    /// For messages.
    pub(super) place: Place,
    readers: Lane,
    writer: Lane,
    /// Readers do not hold up writers.
    pub(super) wal: bool,
    /// Text is stored as UTF-8, so that SQLite's `BINARY` order is that of the bytes.
    pub(super) utf8: bool,
}

/// Connections of one kind.
#[derive(Debug)]
struct Lane {
    options: SqliteConnectOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Arc<Semaphore>,
}

/// A connection in use. Dropped, it is closed; see [`Lease::give_back`].
#[derive(Debug)]
pub(super) struct Lease<'a> {
    lane: &'a Lane,
    connection: SqliteConnection,
    _permit: OwnedSemaphorePermit,
}

impl Lease<'_> {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Keeps the connection for the next use.
    pub(super) fn give_back(self) {
        self.lane.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
    }
}

/// A write transaction. Dropped, it is rolled back.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    lease: Lease<'a>,
}

impl Transaction<'_> {
    /// The connection that the transaction runs on.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.lease.connection
    }

    /// Makes it durable.
    pub(super) async fn commit(mut self) -> Sql<()> {
        run(&mut self.lease.connection, "COMMIT").await?;
        self.lease.give_back();
        Ok(())
    }
}

impl Lane {
    fn new(options: SqliteConnectOptions, permits: Arc<Semaphore>) -> Self {
        Self { options, idle: Mutex::default(), permits }
    }

    async fn lease(&self, place: &Place) -> Result<Lease<'_>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| SyncError::internal("the connections of a database were closed"))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(place.failed("opening the database"))?,
        };
        Ok(Lease { lane: self, connection, _permit: permit })
    }
}

impl Database {
    /// Opens the file and switches it to write-ahead logging where that can be done, unless it is only looked at.
    pub(super) async fn open(file: File, table: Option<String>, looks: bool) -> Result<Self> {
        let place = Place { table, ..file.place.clone() };
        let identity = Identity::of(&file.path);
        let mut database = Self {
            identity,
            readers: Lane::new(file.reading(), Arc::new(Semaphore::new(READERS))),
            writer: Lane::new(file.options(), writers(&file.path)),
            file,
            place,
            wal: false,
            utf8: true,
        };
        database.set_up(looks).await?;
        Ok(database)
    }

    /// A connection that reads.
    pub(super) async fn read(&self) -> Result<Lease<'_>> {
        self.check_identity()?;
        self.readers.lease(&self.place).await
    }

    /// Begins a write transaction.
    pub(super) async fn begin(&self) -> Result<Transaction<'_>> {
        let mut lease = self.writer.lease(&self.place).await?;
        // After the queue: the file may have been replaced meanwhile.
        self.check_identity()?;
        run(&mut lease.connection, "BEGIN IMMEDIATE").await.map_err(self.place.failed("beginning to write"))?;
        Ok(Transaction { lease })
    }

    /// Options for a connection of the caller's own, with `collations` or temporary tables.
    pub(super) fn options(&self) -> SqliteConnectOptions {
        self.file.options()
    }

    /// Opens a connection of the caller's own that only reads.
    pub(super) async fn connect(&self) -> Result<SqliteConnection> {
        self.check_identity()?;
        self.file.reading().connect().await.map_err(self.place.failed("opening the database"))
    }

    async fn set_up(&mut self, looks: bool) -> Result<()> {
        let lane = if looks { &self.readers } else { &self.writer };
        let mut lease = lane.lease(&self.place).await?;
        let failed = || self.place.failed("opening the database");
        let connection = lease.connection();
        let encoding: String =
            sqlx::query_scalar("PRAGMA encoding").fetch_one(&mut *connection).await.map_err(failed())?;
        let mut mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.map_err(failed())?;
        if mode != "wal" && !looks {
            // Not on every file system, not on a read-only file, and not while another program uses the file: then we go on as it
            // is. Nor do we wait for that.
            run(connection, "PRAGMA busy_timeout = 0").await.map_err(failed())?;
            mode = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await.unwrap_or(mode);
        } else {
            lease.give_back();
        }
        (self.utf8, self.wal) = (encoding == "UTF-8", mode == "wal");
        Ok(())
    }

    /// An open file that was moved away can still be written to, but nobody would see it.
    pub(super) fn check_identity(&self) -> Result<()> {
        if Identity::of(&self.file.path) == self.identity {
            return Ok(());
        }
        Err(self.place.error(
            ErrorKind::Unavailable,
            "sqlite.file_replaced",
            "the file was removed or replaced by another one while it was open; it has to be opened anew",
        ))
    }
}

fn writers(path: &Path) -> Arc<Semaphore> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut writers = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
    writers.retain(|_, semaphore| semaphore.strong_count() > 0);
    if let Some(semaphore) = writers.get(&path).and_then(Weak::upgrade) {
        return semaphore;
    }
    let semaphore = Arc::new(Semaphore::new(1));
    writers.insert(path, Arc::downgrade(&semaphore));
    semaphore
}

/// Which file a path leads to; `None` parts where the system cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(Option<(u64, u64)>);

impl Identity {
    #[cfg(unix)]
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino())))
    }

    #[cfg(not(unix))]
    fn of(_path: &Path) -> Self {
        Self(None)
    }
}

/// Runs a statement without arguments and without interest in its rows.
pub(super) async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Sql<()> {
    sqlx::query(sql).execute(connection).await.map(|_| ())
}

/// All rows of a statement. Also for statements that write: SQLite checks foreign keys after the last row only.
pub(super) async fn rows<S>(
    connection: &mut SqliteConnection,
    sql: S,
    arguments: SqliteArguments,
) -> Sql<Vec<SqliteRow>>
where
    AssertSqlSafe<S>: SqlSafeStr,
{
    sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(connection).await
}

/// Runs a statement; how many rows it changed, those of triggers not counted.
pub(super) async fn execute<S>(connection: &mut SqliteConnection, sql: S, arguments: SqliteArguments) -> Sql<u64>
where
    AssertSqlSafe<S>: SqlSafeStr,
{
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).await?.rows_affected())
}
