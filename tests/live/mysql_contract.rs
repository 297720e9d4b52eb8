//! MySQL and MariaDB pass the contract.

use std::sync::Arc;

use async_trait::async_trait;
use tidelock::config::{CaptureMethod, Credentials, Endpoint, Location, Secret};
use tidelock::connector::Connector;
use tidelock::connector::mysql::Mysql;
use tidelock::value::{Kind, Value};

use crate::contract::{Factory, Fixture, TableSpec};
use crate::harness::{Database, is_mariadb};

/// Makes databases on the private server.
struct MysqlFactory {
    capture: CaptureMethod,
}

/// A database of one table.
struct MysqlFixture {
    database: Database,
    capture: CaptureMethod,
}

const TABLE: &str = "People";
const DAY: i64 = 86_400_000_000;

#[async_trait]
impl Fixture for MysqlFixture {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(Mysql::default())
    }

    fn endpoint(&self) -> Endpoint {
        let Database::Mysql { url, .. } = &self.database else { unreachable!("made as MySQL") };
        Endpoint {
            at: Location::default(),
            system_type: "mysql".to_owned(),
            name: Arc::from("source"),
            collection: TABLE.to_owned(),
            filter: None,
            updated_at: None,
            key: Vec::new(),
            external_id: None,
            bulk_threshold: None,
            timeout: None,
            credentials: Credentials { url: Some(Secret::new(url)), ..Credentials::default() },
        }
    }

    fn capture(&self) -> CaptureMethod {
        self.capture
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(&sql.replace("{t}", "\"People\"")).await;
    }

    async fn kept_changes(&self) -> Option<u64> {
        if self.capture == CaptureMethod::Binlog {
            return None;
        }
        let kept = self.database.value("SELECT CAST(count(*) AS TEXT) FROM \"tidelock_changes_People\"").await;
        Some(kept.unwrap().parse().unwrap())
    }

    async fn tracking_objects(&self) -> Vec<String> {
        let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tidelock%'
                   UNION SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1";
        self.database.rows(sql).await.into_iter().flatten().flatten().collect()
    }
}

/// Text is of a collation that takes no two texts for equal: it has to be a key.
fn declared(kind: Kind) -> &'static str {
    match kind {
        Kind::Null | Kind::Text if is_mariadb() => "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
        Kind::Null | Kind::Text => "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        Kind::Boolean => "boolean",
        Kind::Int => "bigint",
        Kind::Float => "double",
        Kind::Decimal => "decimal(65, 30)",
        Kind::Bytes => "varbinary(255)",
        Kind::Date => "date",
        Kind::Time => "time(6)",
        Kind::Instant => "timestamp(6)",
        Kind::Local => "datetime(6)",
        Kind::Json => "json",
        Kind::Uuid => "uuid",
    }
}

#[async_trait]
impl Factory for MysqlFactory {
    async fn create(&self, spec: &TableSpec) -> Box<dyn Fixture> {
        let database = Database::mysql().await;
        database.execute(&spec.create_sql(TABLE, declared, " AUTO_INCREMENT")).await;
        Box::new(MysqlFixture { database, capture: self.capture })
    }

    fn kinds(&self) -> Vec<Kind> {
        // MySQL has no type for UUIDs.
        Kind::ALL.into_iter().filter(|kind| *kind != Kind::Uuid || is_mariadb()).collect()
    }

    fn holds(&self, value: &Value) -> bool {
        match value {
            Value::Float(value) => value.is_finite(),
            Value::Decimal(text) => text != "NaN",
            // From the year 0 to 9999; a timestamp has 31 bits of seconds and none for 0.
            Value::Date(days) => (-719_528..=2_932_896).contains(days),
            Value::Local(micros) => (-719_528 * DAY..2_932_897 * DAY).contains(micros),
            Value::Instant(micros) => (1_000_000..=i64::from(i32::MAX) * 1_000_000 + 999_999).contains(micros),
            Value::Time(micros) => (0..=DAY).contains(micros),
            // MariaDB refuses what it could not tell from another once it has reordered it for its index.
            Value::Uuid(bytes) => bytes[6] < 0x80 || bytes[8] >= 0x80,
            _ => true,
        }
    }
}

crate::contract::contract_tests!(MysqlFactory { capture: CaptureMethod::DatabaseTriggers });

mod from_the_log {
    use super::{CaptureMethod, MysqlFactory};

    crate::contract::capture_tests!(MysqlFactory { capture: CaptureMethod::Binlog });
}
