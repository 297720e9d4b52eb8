//! What the PostgreSQL tests share: a database of its own for each test, and short ways to open a table.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tidelock::change::{Change, ChangeBatch, Op, Position};
use tidelock::config::{CaptureMethod, Credentials, Endpoint, Location, Secret};
use tidelock::connector::postgres::Postgres;
use tidelock::connector::{Connector, OpenOptions, Schema, Side, Source, WriteOutcome};
use tidelock::error::{Result, SyncError};
use tidelock::record::{Key, Record};
use tidelock::value::Value;

/// URL of a superuser.
pub(crate) fn admin_url() -> String {
    std::env::var("TIDELOCK_TEST_POSTGRES").expect(
        "TIDELOCK_TEST_POSTGRES must hold the URL of a PostgreSQL superuser; `tests/run` starts a server and sets it",
    )
}

/// A database of one test.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// Runs a test in a database of its own, which is dropped whatever happens.
pub(crate) async fn with_db<F, T>(test: F)
where
    F: FnOnce(Db) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let admin = admin_url();
    let name = format!("tl_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let url = format!("{}/{name}", admin.rsplit_once('/').expect("a URL with a database").0);
    execute(&admin, &format!("CREATE DATABASE {name}")).await;
    let outcome = tokio::spawn(test(Db { name: name.clone(), url })).await;
    // A slot that is read holds its database.
    let readers = format!(
        "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE database = '{name}' AND active"
    );
    execute(&admin, &readers).await;
    execute(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

impl Db {
    /// Runs statements on a connection of their own.
    pub(crate) async fn run(&self, sql: &str) {
        execute(&self.url, sql).await;
    }

    /// A connection that is not tidelock's.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// One text, `None` for null.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        let mut connection = self.connect().await;
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
    }

    /// An endpoint for a table.
    pub(crate) fn endpoint(&self, collection: &str) -> Endpoint {
        endpoint(&self.url, collection)
    }

    /// A table with its fields, to be opened in one way or another.
    pub(crate) fn table(&self, collection: &str, fields: &[&str]) -> Opening {
        Opening {
            endpoint: self.endpoint(collection),
            options: OpenOptions {
                fields: fields.iter().map(|name| (*name).to_owned()).collect(),
                correlation: vec![fields[0].to_owned()],
                consumer: "store:pair".to_owned(),
                capture: CaptureMethod::DatabaseTriggers,
                updated_at: None,
                looks: false,
                images: false,
                overlap: Duration::from_secs(2),
            },
        }
    }
}

/// An endpoint of a server.
pub(crate) fn endpoint(url: &str, collection: &str) -> Endpoint {
    Endpoint {
        at: Location::default(),
        system_type: "postgres".to_owned(),
        name: Arc::from("source"),
        collection: collection.to_owned(),
        filter: None,
        updated_at: None,
        key: Vec::new(),
        external_id: None,
        bulk_threshold: None,
        timeout: None,
        credentials: Credentials { url: Some(Secret::new(url)), ..Credentials::default() },
    }
}

/// How a table is to be opened.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: OpenOptions,
}

impl Opening {
    pub(crate) fn consumer(mut self, name: &str) -> Self {
        self.options.consumer = name.to_owned();
        self
    }

    pub(crate) fn correlation(mut self, fields: &[&str]) -> Self {
        self.options.correlation = fields.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub(crate) fn filter(mut self, sql: &str) -> Self {
        self.endpoint.filter = Some(sql.to_owned());
        self
    }

    pub(crate) fn polling(mut self, column: &str, overlap: Duration) -> Self {
        self.options.capture = CaptureMethod::Polling;
        self.options.updated_at = Some(column.to_owned());
        self.options.overlap = overlap;
        self
    }

    pub(crate) fn logical(mut self) -> Self {
        self.options.capture = CaptureMethod::LogicalReplication;
        self
    }

    pub(crate) async fn try_open(&self) -> Result<Side> {
        let connector = Postgres::default();
        let schema = connector.describe(&self.endpoint).await?;
        connector.open(&self.endpoint, &schema, self.options.clone()).await
    }

    pub(crate) async fn open(&self) -> Side {
        self.try_open().await.unwrap()
    }
}

pub(crate) async fn describe(endpoint: &Endpoint) -> Result<Schema> {
    Postgres::default().describe(endpoint).await
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// A key of one integer.
pub(crate) fn key(value: i64) -> Key {
    Key(vec![Value::Int(value)])
}

/// Drains a source; the position behind everything that it knows.
pub(crate) async fn drain(source: &mut dyn Source, after: &Position) -> (Vec<Change>, Position) {
    let (mut changes, mut position) = (Vec::new(), after.clone());
    loop {
        let ChangeBatch { changes: part, through, more } = source.next_batch(&position, 100).await.unwrap();
        let end = part.is_empty() && !more;
        changes.extend(part);
        position = through;
        if end {
            return (changes, position);
        }
    }
}

/// `U1 D2 …`: operations and keys in order.
pub(crate) fn shown(changes: &[Change]) -> String {
    let one = |change: &Change| format!("{}{}", if change.op == Op::Upsert { "U" } else { "D" }, change.key);
    changes.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// `applied`, `changed` or the error's code, for each outcome.
pub(crate) fn outcomes(outcomes: &[WriteOutcome]) -> Vec<&'static str> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            WriteOutcome::Applied { .. } => "applied",
            WriteOutcome::Changed => "changed",
            WriteOutcome::Failed(error) => error.code,
        })
        .collect()
}

/// The stored record of an applied write.
pub(crate) fn stored(outcome: &WriteOutcome) -> &Record {
    match outcome {
        WriteOutcome::Applied { stored: Some(record), .. } => record,
        other => panic!("not stored: {other:?}"),
    }
}

/// Checks an error's code and that its message has all these parts.
pub(crate) fn assert_error(error: &SyncError, code: &str, parts: &[&str]) {
    assert_eq!(error.code, code, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
}
