//! How a MySQL or MariaDB server is reached (layer 4): endpoint → connection options, session settings, the pool.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection};

use super::binlog::Address;
use super::errors::{Place, Sql};
use super::table::literal;
use crate::config::Endpoint;
use crate::connector::nodelay::send_at_once;
use crate::connector::tls::Trust;
use crate::connector::url::percent_decoded;
use crate::error::{ErrorKind, Result};

/// How long the first connection may take, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Statements of one collection's target that run at the same time.
const POOL_CONNECTIONS: u32 = 4;
/// A connection that lay unused for longer is tried before it is used.
const PING_AFTER: Duration = Duration::from_secs(5);
const DEFAULT_PORT: u16 = 3306;

/// What makes every session the same: a value that does not fit is an error, 0 is a key like any other, times are UTC, and a
/// transaction locks the rows that it finds, not the gaps between them. A scan may be read slowly, and a statement may take its time: how
/// long a silent server is waited for is `timeout_seconds`. (The first comment is for MariaDB, which skips the second; MySQL does the reverse.)
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', \
     autocommit = 1, foreign_key_checks = 1, unique_checks = 1, sql_auto_is_null = 0, lock_wait_timeout = 10, \
     innodb_lock_wait_timeout = 10, net_write_timeout = 3600 \
     /*M!100108 , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */; \
     SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A server, database and user.
#[derive(Debug, Clone)]
pub(super) struct Server {
    options: MySqlConnectOptions,
    /// For messages.
    pub(super) place: Place,
    /// The database that a table without one is looked up in.
    pub(super) database: String,
    /// How long the server may be silent.
    timeout: Option<Duration>,
    /// Which replica we are to it, where we read its log.
    server_id: Option<u32>,
}

impl Server {
    /// Reads the endpoint's credentials: `url`, or `host`, `port`, `database`, `user`, `password`; and `socket`, `ssl_mode`, `ssl_ca`,
    /// `server_id`.
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self> {
        let credentials = &endpoint.credentials;
        let unknown = Place { server: "(no address)".to_owned(), table: None };
        let invalid = |message: &str| unknown.error(ErrorKind::SchemaMismatch, "mysql.options", message);
        let mut options = match &credentials.url {
            // The parser's own error may repeat the URL, password included.
            Some(url) => MySqlConnectOptions::from_str(url.expose())
                .map_err(|_| invalid("credentials.url is not of the form mysql://USER:PASSWORD@HOST:PORT/DATABASE"))?,
            None => MySqlConnectOptions::new().host("localhost").port(DEFAULT_PORT),
        };
        if let Some(host) = &credentials.host {
            options = options.host(host);
        }
        if let Some(port) = credentials.port {
            options = options.port(port);
        }
        if let Some(database) = &credentials.database {
            options = options.database(database);
        }
        if let Some(user) = &credentials.user {
            options = options.username(user);
        }
        if let Some(password) = &credentials.password {
            options = options.password(password.expose());
        }
        if let Some(file) = credentials.other.get("socket") {
            options = options.socket(file.expose());
        }
        if let Some(mode) = credentials.other.get("ssl_mode") {
            let mode = MySqlSslMode::from_str(mode.expose()).map_err(|_| {
                invalid("credentials.ssl_mode is none of disabled, preferred, required, verify_ca, verify_identity")
            })?;
            options = options.ssl_mode(mode);
        }
        if let Some(file) = credentials.other.get("ssl_ca") {
            options = options.ssl_ca(file.expose());
        }
        let server_id = match credentials.other.get("server_id").map(|id| id.expose().parse()) {
            None => None,
            Some(Ok(id)) if id > 0 => Some(id),
            Some(_) => return Err(invalid("credentials.server_id is no number from 1 to 4294967295")),
        };
        let Some(database) = options.get_database().map(str::to_owned) else {
            return Err(invalid("it is not said which database: add credentials.database"));
        };
        let host = options.get_socket().map_or_else(
            || format!("{}:{}", options.get_host(), options.get_port()),
            |socket| socket.display().to_string(),
        );
        let server = format!("{host}/{database}");
        let (options, place) = (options.disable_statement_logging(), Place { server, table: None });
        Ok(Self { options, place, database, timeout: endpoint.timeout, server_id })
    }

    /// The same, where tables without a database are looked up in this one.
    pub(super) fn in_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// Opens one connection, with a clear error where that fails.
    pub(super) async fn connect(&self) -> Result<MySqlConnection> {
        let connecting = async {
            let mut connection = MySqlConnection::connect_with(&self.options).await?;
            send_at_once();
            set(&mut connection, SESSION.to_owned()).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.place.unconnected(error)),
            Err(_) => Err(self.place.error(
                ErrorKind::Unavailable,
                "mysql.unavailable",
                format_args!("connecting: no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            )),
        }
    }

    /// How a connection of its own kind reaches the server: what sqlx's options say, for those that it cannot open.
    pub(super) fn address(&self) -> Address {
        let options = &self.options;
        let url = options.to_url_lossy();
        // sqlx writes down which kind of thing it is.
        let file = url
            .query_pairs()
            .find(|(name, _)| name == "ssl-ca")
            .map(|(_, file)| PathBuf::from(file.strip_prefix("file: ").unwrap_or(&file)));
        let trust = match options.get_ssl_mode() {
            MySqlSslMode::Disabled => Trust::Plain,
            MySqlSslMode::Preferred => Trust::Preferred,
            MySqlSslMode::Required => Trust::Anybody,
            MySqlSslMode::VerifyCa => Trust::Authority(file),
            MySqlSslMode::VerifyIdentity => Trust::Host(file),
        };
        Address {
            host: options.get_host().to_owned(),
            socket: options.get_socket().cloned(),
            port: options.get_port(),
            user: options.get_username().to_owned(),
            password: url.password().map(percent_decoded).unwrap_or_default(),
            trust,
            timeout: self.timeout,
            server_id: self.server_id,
        }
    }

    /// A pool that connects when it is first used, and whose changes carry `origin`.
    pub(super) fn pool(&self, origin: &str) -> MySqlPool {
        self.pool_of(POOL_CONNECTIONS, format!("{SESSION}; SET @tidelock_origin = {}", literal(origin)))
    }

    /// A pool of one connection for the reader of a change table.
    pub(super) fn reader(&self) -> MySqlPool {
        self.pool_of(1, SESSION.to_owned())
    }

    fn pool_of(&self, connections: u32, settings: String) -> MySqlPool {
        MySqlPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(None)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > PING_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                send_at_once();
                let settings = settings.clone();
                Box::pin(async move { set(connection, settings).await })
            })
            .connect_lazy_with(self.options.clone())
    }
}

async fn set(connection: &mut MySqlConnection, settings: String) -> Sql<()> {
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credentials, Location, Secret};

    fn endpoint(credentials: Credentials) -> Endpoint {
        Endpoint {
            at: Location::default(),
            system_type: "mysql".to_owned(),
            name: "source".into(),
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
    fn parts_override_the_url_and_the_password_is_never_shown() {
        let credentials = Credentials {
            url: Some(Secret::new("mysql://ann:hunter2@db.example:6000/shop")),
            database: Some("other".to_owned()),
            ..Credentials::default()
        };
        let server = Server::of(&endpoint(credentials)).unwrap();
        assert_eq!(server.place.to_string(), "mysql db.example:6000/other");
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_repeating_it() {
        let other = |key: &str, value: &str| Credentials {
            url: Some(Secret::new("mysql://localhost/shop")),
            other: [(key.to_owned(), Secret::new(value))].into(),
            ..Credentials::default()
        };
        for credentials in [
            Credentials { url: Some(Secret::new("mysql//ann:hunter2@x")), ..Credentials::default() },
            Credentials { url: Some(Secret::new("mysql://ann:hunter2@x")), ..Credentials::default() },
            other("ssl_mode", "hunter2"),
        ] {
            let error = Server::of(&endpoint(credentials)).unwrap_err();
            assert_eq!(error.code, "mysql.options");
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(Server::of(&endpoint(other("ssl_mode", "verify_ca"))).is_ok());
    }
}
