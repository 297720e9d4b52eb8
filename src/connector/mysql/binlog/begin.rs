//! Begins to read the log at a position, and finds out how far it has to be read (layer 4).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::MySqlConnection;
use sqlx::pool::PoolConnection;
use tokio::sync::watch;

use super::super::catalogue;
use super::super::collection::Collection;
use super::super::errors::{Place, Sql};
use super::super::table::Table;
use super::decode::KeyColumn;
use super::follow::{Catalogue, Followed, Follower, Seen};
use super::objects::{self, Make, Settings};
use super::position::{File, LogPosition, Spot};
use super::stream::{Progress, Running, Shared, Watching, silence};
use super::wire::{Address, Wire, WireError};
use super::{DOING, Stream};
use crate::error::{ErrorKind, Result, SyncError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has written more must send some of it within this time.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The error of a log that cannot be followed any further.
pub(super) fn lost(place: &Place, why: &str) -> SyncError {
    let message = format!("{why}: changes may have been missed; load the pair again (tidelock resync)");
    place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", message)
}

/// Translates what happened on the connection.
pub(super) fn failed(place: &Place, make: Make, error: &WireError) -> SyncError {
    match error {
        // "Could not find first log file", "position > file size", but also "a replica of the same id has connected".
        WireError::Server { number: 1236 | 13114, message, .. } if !message.contains("server_") => {
            lost(place, &format!("{DOING}: {message}"))
        }
        WireError::Server { number: 1227, .. } => objects::missing_right(place, make),
        WireError::Server { number, state, message } => place.said(DOING, *number, state, message),
        WireError::Refused(_) => {
            place.error(ErrorKind::Unauthenticated, "mysql.unauthenticated", format_args!("{DOING}: {error}"))
        }
        WireError::Lost(_) | WireError::Tls(_) | WireError::Unreadable => {
            place.error(ErrorKind::Unavailable, "mysql.unavailable", format_args!("{DOING}: {error}"))
        }
    }
}

/// How far a reader has come.
pub(super) struct Caught {
    /// It has read everything that was committed.
    pub(super) up: bool,
    /// It has read further than the log goes: perhaps the log was begun anew, and what comes is in another file of that name.
    pub(super) astray: bool,
}

impl Collection {
    /// The stream that the collection was opened with.
    pub(super) fn stream(&self) -> Result<&Stream> {
        self.stream.as_ref().ok_or_else(|| SyncError::internal("a collection was opened without its stream"))
    }

    /// A connection for questions about the log.
    pub(super) async fn asking(&self) -> Result<PoolConnection<sqlx::MySql>> {
        self.stream()?.pool.acquire().await.map_err(|error| self.place.failed(DOING, error))
    }

    /// Reads the log from a position on; with `None` from where it ends now.
    pub(super) async fn start(self: &Arc<Self>, begin: Option<&LogPosition>) -> Result<Running> {
        let mut connection = self.asking().await?;
        let settings = Settings::read(&mut connection).await;
        let settings = settings.map_err(|error| self.place.failed(DOING, error))?;
        let make = settings.make();
        self.stream()?.make.set(make).unwrap_or_default();
        let key = objects::key_columns(&mut connection, &self.table, &self.place).await?;
        let form: Arc<str> = form(&key).into();
        let begin = match begin {
            Some(begin) if begin.form != form => {
                return Err(lost(&self.place, "a key column of the table changed its type"));
            }
            Some(begin) => begin.clone(),
            None => {
                let end = objects::visible(&mut connection, self, make).await;
                let (name, at) = end.map_err(|error| objects::explain(&self.place, make, error))?;
                let file = Arc::new(File { name, made: (0, 0) });
                LogPosition { spot: Spot { file, at }, index: 0, key: places(&key, &self.table), form, from: None }
            }
        };
        drop(connection);
        let address = self.server.address();
        let followed = Followed {
            table: (self.table.database.clone(), self.table.name.clone()),
            any_case: settings.any_case(),
            key,
            own: self.origin.clone(),
        };
        let look = Look { collection: Arc::clone(self), make };
        let follower = Follower::new(followed, Box::new(look), begin.clone(), settings.checksums());
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.ask(&address, follower, &begin)).await;
        let timed_out = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        let (wire, follower) = opened.unwrap_or_else(timed_out).map_err(|error| failed(&self.place, make, &error))?;
        let found = follower.reached();
        if begin.spot.file.made != (0, 0) && found.spot.file != begin.begin().file {
            return Err(lost(
                &self.place,
                "the binary log is not the one that was read (RESET MASTER, or another server)",
            ));
        }
        Ok(Running::start(wire, follower, silence(address.timeout).0))
    }

    /// Asks for the log, and reads how its file begins.
    async fn ask(
        &self,
        address: &Address,
        mut follower: Follower,
        begin: &LogPosition,
    ) -> Result<(Wire, Follower), WireError> {
        let Spot { file, at } = begin.begin();
        let at =
            u32::try_from(*at).map_err(|_| WireError::Refused("a file of the log is larger than can be asked for"))?;
        let mut wire = Wire::open(address).await?;
        for setting in [
            "SET NAMES utf8mb4",
            // What is not read stays with the server.
            "SET SESSION net_write_timeout = 3600",
            "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
            // MariaDB: with its own events for groups.
            "SET @mariadb_slave_capability = 4",
        ] {
            wire.run(setting).await?;
        }
        let nanos = silence(address.timeout).1.as_nanos();
        wire.run(&format!("SET @master_heartbeat_period = {nanos}, @source_heartbeat_period = {nanos}")).await?;
        wire.dump(&file.name, at, self.stream().map_err(|_| WireError::Unreadable)?.server_id).await?;
        while !follower.knows_file() {
            follower.event(&wire.event().await?).await?;
        }
        Ok((wire, follower))
    }

    /// Waits until everything that is committed now has been read, or until `enough`: what is read waits to be taken, and the reader stops
    /// where that is too much, so who takes must not wait for the end. Where `None`, what nobody takes is passed over.
    pub(super) async fn catch_up(
        &self,
        shared: &Shared,
        mut progress: watch::Receiver<Progress>,
        enough: Option<impl Fn() -> bool>,
    ) -> Result<Caught> {
        let before = progress.borrow().read.spot.order();
        let mut connection = self.asking().await?;
        let watching = Watching::new(shared);
        let end = self.visible_now(&mut connection).await?;
        drop(connection);
        if enough.is_none() {
            shared.want(end);
        }
        loop {
            let (read, failed) = {
                let now = progress.borrow_and_update();
                (now.read.spot.order(), now.failed.is_some())
            };
            if read >= end || failed || enough.as_ref().is_some_and(|enough| enough()) {
                drop(watching);
                return Ok(Caught { up: read >= end, astray: end < before });
            }
            // What belongs to others may be long: it is silence that is limited.
            match tokio::time::timeout(READ_TIMEOUT, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(SyncError::internal("the reader of a binary log is gone")),
                Err(_) => {
                    let message =
                        format!("{DOING}: the server has not sent what it has written within {READ_TIMEOUT:?}");
                    return Err(self.place.error(ErrorKind::Unavailable, "mysql.unavailable", message));
                }
            }
        }
    }

    /// The end of what is visible, as [`objects::visible`] has it.
    pub(super) async fn visible_now(&self, connection: &mut MySqlConnection) -> Result<(u64, u64)> {
        let asked = async {
            let make = self.make(connection).await?;
            objects::visible(connection, self, make).await
        };
        self.ended(asked.await)
    }

    /// The end of the log, as [`objects::end`] has it.
    pub(super) async fn end(&self, connection: &mut MySqlConnection) -> Result<(u64, u64)> {
        let asked = async {
            let make = self.make(connection).await?;
            objects::end(connection, make).await
        };
        self.ended(asked.await)
    }

    async fn make(&self, connection: &mut MySqlConnection) -> Sql<Make> {
        match self.stream.as_ref().and_then(|stream| stream.make.get().copied()) {
            Some(make) => Ok(make),
            None => Ok(Settings::read(connection).await?.make()),
        }
    }

    fn ended(&self, end: Sql<(String, u64)>) -> Result<(u64, u64)> {
        end.map(|end| objects::order(&end)).map_err(|error| self.place.failed("asking for the end of the log", error))
    }
}

/// Places of the key's columns in the catalogue's order.
fn places(key: &[KeyColumn], table: &Table) -> Arc<[usize]> {
    let place = |column: &KeyColumn| table.columns.iter().position(|other| other.name() == column.name());
    key.iter().filter_map(place).collect()
}

fn form(key: &[KeyColumn]) -> String {
    key.iter().map(KeyColumn::form).collect::<Vec<_>>().join(", ")
}

/// Asks for the catalogue, for the follower.
struct Look {
    collection: Arc<Collection>,
    make: Make,
}

#[async_trait]
impl Catalogue for Look {
    async fn look(&self) -> Result<Option<Seen>, WireError> {
        let (server, table) = (&self.collection.server, &self.collection.table);
        let lost = |error: SyncError| WireError::Lost(error.to_string());
        let mut connection = server.connect().await.map_err(lost)?;
        let server = server.in_database(&table.database);
        let Ok(now) = catalogue::describe(&mut connection, &server, (&table.name, &[])).await else { return Ok(None) };
        if now.key != table.key {
            return Ok(None);
        }
        let key = objects::key_columns(&mut connection, &now, &self.collection.place).await.map_err(lost)?;
        let end = objects::visible(&mut connection, &self.collection, self.make).await;
        let end = end.map_err(|error| WireError::Lost(error.to_string()))?;
        Ok(Some(Seen {
            types: now.columns.iter().map(|column| column.data_type.clone()).collect(),
            places: places(&key, &now),
            form: form(&key).into(),
            end: objects::order(&end),
        }))
    }
}
