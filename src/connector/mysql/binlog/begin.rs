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
use super::gtid::{Gtids, Known};
use super::objects::{self, End, Make, Settings};
use super::position::{File, LogPosition, Spot};
use super::stream::{Progress, Running, Shared, Watching, silence};
use super::wire::{Wire, WireError};
use super::{DOING, Stream};
use crate::error::{ErrorKind, Result, SyncError};

/// Where the first event of a file begins.
const FIRST: u32 = 4;
const LOST: &str = "source.tracking_lost";
/// A server looks through files for what is asked for by ids.
const SEEK_TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has written more must send some of it within this time.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The error of a log that cannot be followed any further.
pub(super) fn lost(place: &Place, why: &str) -> SyncError {
    let message = format!("{why}: changes may have been missed; load the pair again (tidelock resync)");
    place.error(ErrorKind::SchemaMismatch, LOST, message)
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

/// A log that was asked for, and has told how it begins.
struct Asked {
    wire: Wire,
    follower: Follower,
    began: LogPosition,
    silence: Duration,
}

impl Asked {
    /// Has it read; `instead_of`: the position of another log that its beginning stands for.
    fn run(self, instead_of: Option<LogPosition>) -> Running {
        Running::start(self.wire, self.follower, (self.began, instead_of), self.silence)
    }
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

    /// Reads the log from a position on; with `None` from where it ends now. Where the log is not the one that the position is of, the place is looked
    /// for by the ids of transactions: in that of a replica, say, which was made the primary.
    pub(super) async fn start(self: &Arc<Self>, begin: Option<&LogPosition>) -> Result<Running> {
        let mut connection = self.asking().await?;
        let settings = Settings::read(&mut connection).await;
        let settings = settings.map_err(|error| self.place.failed(DOING, error))?;
        let make = settings.make();
        self.stream()?.make.set(make).unwrap_or_default();
        let key = objects::key_columns(&mut connection, &self.table, &self.place).await?;
        let begin = self.beginning(&mut connection, (make, &key), begin).await?;
        drop(connection);
        let asked = self.ask_within_time(&settings, &key, &begin, None).await;
        let why = match asked {
            Ok(asked) if begin.spot.file.made == (0, 0) || asked.began.spot.file == begin.begin().file => {
                return Ok(asked.run(None));
            }
            Ok(_) => lost(&self.place, "the binary log is not the one that was read (RESET MASTER, or another server)"),
            Err(error) => failed(&self.place, make, &error),
        };
        let known = begin.gtid.clone().filter(|known| known.last.is_some());
        let Some(known) = known.filter(|_| why.code == LOST) else { return Err(why) };
        let has = objects::has(&mut *self.asking().await?, make, &known).await;
        if !has.map_err(|error| self.place.failed(DOING, error))? {
            return Err(lost(&self.place, "the server does not have all transactions that were read from another"));
        }
        let asked = self.ask_within_time(&settings, &key, &begin, Some(&known)).await;
        let asked = asked.map_err(|error| failed(&self.place, make, &error))?;
        let file = &asked.began.spot.file.name;
        tracing::info!(
            table = self.table.label(),
            file,
            "the binary log is another server's: going on by the ids of transactions"
        );
        Ok(asked.run(Some(begin)))
    }

    /// Where to begin: checked, and the end of the log where that is not said.
    async fn beginning(
        &self,
        connection: &mut MySqlConnection,
        (make, key): (Make, &[KeyColumn]),
        begin: Option<&LogPosition>,
    ) -> Result<LogPosition> {
        let form: Arc<str> = form(key).into();
        if let Some(begin) = begin {
            if begin.form != form {
                return Err(lost(&self.place, "a key column of the table changed its type"));
            }
            return Ok(begin.clone());
        }
        let explain = |error| objects::explain(&self.place, make, error);
        let end = objects::visible(connection, self, make).await.map_err(explain)?;
        let had = objects::had(connection, make, &end).await.map_err(explain)?;
        let gtid = had.map(|before| Arc::new(Known { before, last: None }));
        let file = Arc::new(File { name: end.file, made: (0, 0) });
        let spot = Spot { file, at: end.at };
        Ok(LogPosition { spot, index: 0, key: places(key, &self.table), form, from: None, gtid })
    }

    async fn ask_within_time(
        self: &Arc<Self>,
        settings: &Settings,
        key: &[KeyColumn],
        begin: &LogPosition,
        known: Option<&Known>,
    ) -> Result<Asked, WireError> {
        let followed = Followed {
            table: (self.table.database.clone(), self.table.name.clone()),
            any_case: settings.any_case(),
            key: key.to_vec(),
            own: self.origin.clone(),
        };
        let look = Look { collection: Arc::clone(self), make: settings.make() };
        let follower = Follower::new(followed, Box::new(look), begin.clone(), settings.checksums());
        let limit = if known.is_some() { SEEK_TIMEOUT } else { CONNECT_TIMEOUT };
        let asked = tokio::time::timeout(limit, self.ask(follower, begin, known)).await;
        asked.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    /// Asks for the log, and reads how its file begins; where it is asked for by what is `known`, until the last of that has come.
    async fn ask(
        &self,
        mut follower: Follower,
        begin: &LogPosition,
        known: Option<&Known>,
    ) -> Result<Asked, WireError> {
        let address = self.server.address();
        let mut wire = Wire::open(&address).await?;
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
        let (silence, heartbeat) = silence(address.timeout);
        let nanos = heartbeat.as_nanos();
        wire.run(&format!("SET @master_heartbeat_period = {nanos}, @source_heartbeat_period = {nanos}")).await?;
        let server_id = self.stream().map_err(|_| WireError::Unreadable)?.server_id;
        match known.map(|known| &known.before) {
            Some(had @ Gtids::Numbered(_)) => wire.dump_but(&had.encoded(), server_id).await?,
            Some(had @ Gtids::InDomain(_)) => {
                wire.run(&format!("SET @slave_connect_state = '{had}'")).await?;
                wire.dump("", FIRST, server_id).await?;
            }
            None => {
                let Spot { file, at } = begin.begin();
                let at = u32::try_from(*at)
                    .map_err(|_| WireError::Refused("a file of the log is larger than can be asked for"))?;
                wire.dump(&file.name, at, server_id).await?;
            }
        }
        while !follower.knows_file() {
            follower.event(&wire.event().await?).await?;
        }
        let began = follower.reached();
        if known.is_some() {
            follower.seek();
        }
        while follower.is_seeking() {
            follower.event(&wire.event().await?).await?;
            while follower.is_unpacking() {
                follower.unpack().await?;
            }
        }
        Ok(Asked { wire, follower, began, silence })
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

    fn ended(&self, end: Sql<End>) -> Result<(u64, u64)> {
        end.map(|end| end.order()).map_err(|error| self.place.failed("asking for the end of the log", error))
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
            end: end.order(),
        }))
    }
}
