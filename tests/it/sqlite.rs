//! SQLite passes the contract.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use tidelock::config::{Credentials, Endpoint, Location};
use tidelock::connector::Connector;
use tidelock::connector::sqlite::Sqlite;
use tidelock::value::{Kind, Value};

use crate::contract::{Factory, Fixture, TableSpec};

/// Makes databases in temporary folders.
pub struct SqliteFactory;

/// A database of one table.
pub struct SqliteFixture {
    folder: TempDir,
}

const TABLE: &str = "People";

impl SqliteFixture {
    /// A database after these statements.
    pub async fn new(statements: &[&str]) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        let options = fixture.options().create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        for statement in statements {
            run(&mut connection, statement).await;
        }
        fixture
    }

    pub fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.path()).busy_timeout(std::time::Duration::from_secs(20))
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("crm.db")
    }

    pub async fn strings(&self, sql: &str) -> Vec<String> {
        let mut connection = self.options().connect().await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap()
    }
}

async fn run(connection: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[async_trait]
impl Fixture for SqliteFixture {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(Sqlite::default())
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            at: Location::default(),
            system_type: "sqlite".to_owned(),
            name: "source".into(),
            collection: TABLE.to_owned(),
            filter: None,
            updated_at: None,
            key: Vec::new(),
            external_id: None,
            bulk_threshold: None,
            timeout: None,
            credentials: Credentials { path: Some(self.path()), ..Credentials::default() },
        }
    }

    async fn execute(&self, sql: &str) {
        let mut connection = self.options().connect().await.unwrap();
        run(&mut connection, &sql.replace("{t}", TABLE)).await;
    }

    async fn kept_changes(&self) -> Option<u64> {
        let mut connection = self.options().connect().await.unwrap();
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM \"tidelock_changes_People\"")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        Some(u64::try_from(kept).unwrap())
    }

    async fn tracking_objects(&self) -> Vec<String> {
        self.strings("SELECT name FROM sqlite_master WHERE name LIKE 'tidelock%' ORDER BY name").await
    }
}

fn declared(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "",
        Kind::Boolean => "BOOLEAN",
        Kind::Int => "INTEGER",
        Kind::Float => "REAL",
        Kind::Decimal => "DECIMAL(30,10)",
        Kind::Text => "TEXT",
        Kind::Bytes => "BLOB",
        Kind::Date => "DATE",
        Kind::Time => "TIME",
        Kind::Instant => "TIMESTAMPTZ",
        Kind::Local => "DATETIME",
        Kind::Json => "JSON",
        Kind::Uuid => "UUID",
    }
}

#[async_trait]
impl Factory for SqliteFactory {
    async fn create(&self, spec: &TableSpec) -> Box<dyn Fixture> {
        Box::new(SqliteFixture::new(&[&spec.create_sql(TABLE, declared, "")]).await)
    }

    fn holds(&self, value: &Value) -> bool {
        let year = |micros: i64| (-719_528..=2_932_896).contains(&micros.div_euclid(86_400_000_000));
        match value {
            // NUMERIC affinity: a 64-bit integer, or what a double gives back.
            Value::Decimal(text) => {
                let text = tidelock::value::canonical_decimal(text);
                let shortest = text.parse::<f64>().map(|float| format!("{float}")).unwrap_or_default();
                text.parse::<i64>().is_ok() || shortest == text
            }
            Value::Date(days) => (-719_528..=2_932_896).contains(days),
            Value::Instant(micros) | Value::Local(micros) => year(*micros),
            Value::Time(micros) => (0..86_400_000_000).contains(micros),
            _ => true,
        }
    }
}

crate::contract::contract_tests!(SqliteFactory);
