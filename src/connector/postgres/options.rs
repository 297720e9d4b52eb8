//! How a PostgreSQL server is reached (layer 4): endpoint → connection options, session settings, the pool.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::errors::{Place, Sql};
use super::logical::{Address, Trust};
use crate::config::Endpoint;
use crate::connector::nodelay::send_at_once;
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
const DEFAULT_PORT: u16 = 5432;

/// What makes the text of a value the same in every session. `pg_catalog` comes first, so that nothing stands in for a built-in.
/// Plans are generic: one made for 2,000 given keys reads a whole table of 100,000 rows, which takes 25 times as long as
/// going by the index (measured).
const SESSION: &str = "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 3; \
     SET bytea_output = 'hex'; SET xmloption = 'content'; SET standard_conforming_strings = on; \
     SET search_path = pg_catalog, public, pg_temp; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '5min'; \
     SET plan_cache_mode = force_generic_plan; SET jit = off";
/// Added for the reader of a change table. A plan made while the table was empty is kept for as long as nobody analyses the table,
/// and a burst of changes comes sooner: it has to be one by the index.
const READER: &str = "SET enable_seqscan = off; SET enable_sort = off";

/// A server, database and user.
#[derive(Debug, Clone)]
pub(super) struct Server {
    options: PgConnectOptions,
    /// For messages.
    pub(super) place: Place,
    /// The schema that a table without one is looked up in.
    pub(super) schema: String,
    /// How long the server may be silent.
    timeout: Option<Duration>,
}

impl Server {
    /// Reads the endpoint's credentials: `url`, or `host`, `port`, `database`, `user`, `password`; and `schema`, `sslmode`, `sslrootcert`.
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self> {
        let credentials = &endpoint.credentials;
        let unknown = Place { server: "(no address)".to_owned(), table: None };
        let invalid = |message: &str| unknown.error(ErrorKind::SchemaMismatch, "postgres.options", message);
        let mut options = match &credentials.url {
            // The parser's own error may repeat the URL, password included.
            Some(url) => PgConnectOptions::from_str(url.expose()).map_err(|_| {
                invalid("credentials.url is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            })?,
            None => PgConnectOptions::new().host("localhost").port(DEFAULT_PORT),
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
        if let Some(mode) = credentials.other.get("sslmode") {
            let mode = PgSslMode::from_str(mode.expose()).map_err(|_| {
                invalid("credentials.sslmode is none of disable, allow, prefer, require, verify-ca, verify-full")
            })?;
            options = options.ssl_mode(mode);
        }
        if let Some(file) = credentials.other.get("sslrootcert") {
            options = options.ssl_root_cert(file.expose());
        }
        let options = options.application_name("tidelock").disable_statement_logging();
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let server = format!("{}:{}/{database}", options.get_host(), options.get_port());
        let schema = credentials.schema.clone().unwrap_or_else(|| "public".to_owned());
        Ok(Self { options, place: Place { server, table: None }, schema, timeout: endpoint.timeout })
    }

    /// Opens one connection, with a clear error where that fails.
    pub(super) async fn connect(&self) -> Result<PgConnection> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            send_at_once();
            set(&mut connection, SESSION).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.place.unconnected(error)),
            Err(_) => Err(self.place.error(
                ErrorKind::Unavailable,
                "postgres.unavailable",
                format_args!("connecting: no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            )),
        }
    }

    /// How a connection of its own kind reaches the server: what sqlx's options say, for those that it cannot open.
    pub(super) fn address(&self) -> Address {
        let options = &self.options;
        // sqlx panics over a host that is a folder, and over a user's name that a URL would have to spell otherwise; of what it writes only
        // the password and the certificate are read.
        let url = options.clone().host("localhost").username("tidelock").to_url_lossy();
        // sqlx writes down which kind of thing it is.
        let file = url
            .query_pairs()
            .find(|(name, _)| name == "sslrootcert")
            .map(|(_, file)| PathBuf::from(file.strip_prefix("file: ").unwrap_or(&file)));
        let trust = match options.get_ssl_mode() {
            PgSslMode::Disable | PgSslMode::Allow => Trust::Plain,
            PgSslMode::Prefer => Trust::Preferred,
            PgSslMode::Require => Trust::Anybody,
            PgSslMode::VerifyCa => Trust::Authority(file),
            PgSslMode::VerifyFull => Trust::Host(file),
        };
        let folder = Some(options.get_host()).filter(|host| host.starts_with('/')).map(PathBuf::from);
        Address {
            host: options.get_host().to_owned(),
            socket: options.get_socket().cloned().or(folder),
            port: options.get_port(),
            user: options.get_username().to_owned(),
            password: url.password().map(percent_decoded),
            database: options.get_database().unwrap_or_else(|| options.get_username()).to_owned(),
            trust,
            timeout: self.timeout,
        }
    }

    /// A pool that connects when it is first used.
    pub(super) fn pool(&self) -> PgPool {
        self.pool_of(POOL_CONNECTIONS, "")
    }

    /// A pool of one connection for the reader of a change table.
    pub(super) fn reader(&self) -> PgPool {
        self.pool_of(1, READER)
    }

    /// A pool of one connection that is held for good.
    pub(super) fn single(&self) -> PgPool {
        self.pool_of(1, "")
    }

    fn pool_of(&self, connections: u32, more: &'static str) -> PgPool {
        PgPoolOptions::new()
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
                Box::pin(async move {
                    set(connection, SESSION).await?;
                    set(connection, more).await
                })
            })
            .connect_lazy_with(self.options.clone())
    }
}

async fn set(connection: &mut PgConnection, settings: &'static str) -> Sql<()> {
    sqlx::raw_sql(settings).execute(connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credentials, Location, Secret};

    fn endpoint(credentials: Credentials) -> Endpoint {
        Endpoint {
            at: Location::default(),
            system_type: "postgres".to_owned(),
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
            url: Some(Secret::new("postgres://ann:hunter2@db.example:6000/shop")),
            database: Some("other".to_owned()),
            ..Credentials::default()
        };
        let server = Server::of(&endpoint(credentials)).unwrap();
        assert_eq!(server.place.to_string(), "postgres db.example:6000/other");
    }

    #[test]
    fn another_kind_of_connection_goes_to_the_same_place() {
        let password = "p%40 ä'/:#?ü€&";
        let credentials = Credentials {
            url: Some(Secret::new("postgres://ann:x@db.example:6000/shop?sslmode=verify-ca&sslrootcert=/etc/ca.pem")),
            password: Some(Secret::new(password)),
            ..Credentials::default()
        };
        let address = Server::of(&endpoint(credentials)).unwrap().address();
        assert_eq!((address.host.as_str(), address.port, address.socket), ("db.example", 6000, None));
        assert_eq!((address.user.as_str(), address.database.as_str()), ("ann", "shop"));
        assert_eq!(address.password.as_deref(), Some(password));
        assert_eq!(address.trust, Trust::Authority(Some(PathBuf::from("/etc/ca.pem"))));
        let folder =
            Credentials { url: Some(Secret::new("postgres://ann@%2Frun%2Fpg/shop")), ..Credentials::default() };
        let address = Server::of(&endpoint(folder)).unwrap().address();
        assert_eq!((address.socket, address.trust), (Some(PathBuf::from("/run/pg")), Trust::Preferred));
    }

    #[test]
    fn a_broken_url_is_refused_without_repeating_it() {
        let credentials = Credentials { url: Some(Secret::new("postgres//ann:hunter2@x")), ..Credentials::default() };
        let error = Server::of(&endpoint(credentials)).unwrap_err();
        assert_eq!(error.code, "postgres.options");
        assert!(!error.to_string().contains("hunter2"));
    }
}
