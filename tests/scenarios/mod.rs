//! What every pair of databases must do, end to end through the real program. Included by the hermetic binary (SQLite ↔ SQLite) and by
//! the live one (the other combinations).

pub mod chinook;
pub mod conflicts;
pub mod correlation;
pub mod crash;
pub mod live;
pub mod mapping;
pub mod one_way;
pub mod plugins;
pub mod polling;
pub mod suite;
pub mod two_way;

use serde_json::{Value, json};

use crate::harness::{Database, Tidelock};

/// Two databases with a `customers` and a `clients` table, and a folder.
pub struct Setup {
    /// The source's database.
    pub source: Database,
    /// The target's database.
    pub target: Database,
    /// The program.
    pub tidelock: Tidelock,
}

/// Which databases a scenario runs on.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// The private server.
    Postgres,
}

impl Setup {
    /// Empty databases.
    pub async fn new(kinds: (Kind, Kind)) -> Self {
        let tidelock = Tidelock::new();
        let folder = tidelock.folder.path().to_owned();
        let open = async |kind: Kind, name: &str| match kind {
            Kind::Sqlite => Database::sqlite(&folder, name).await,
            Kind::Postgres => Database::postgres().await,
        };
        let (source, target) = (open(kinds.0, "source.db").await, open(kinds.1, "target.db").await);
        Self { source, target, tidelock }
    }

    /// Both tables with the same key, made by whoever inserts.
    pub async fn tables(&self) {
        self.source.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, city TEXT, updated_at TIMESTAMP)").await;
        self.target.execute("CREATE TABLE clients (client_id INTEGER PRIMARY KEY, full_name TEXT, phone TEXT, town TEXT, updated_at TIMESTAMP)").await;
    }

    /// A configuration over these tables with more keys merged in.
    pub fn configure(&self, more: Value) {
        let mut config = json!({
            "connection_name": "customers",
            "source": self.source.endpoint("crm", "customers"),
            "target": self.target.endpoint("erp", "clients"),
            "key": {"source": "id", "target": "client_id"},
            "field_mappings": [
                {"source": "id", "target": "client_id"},
                {"source": "name", "target": "full_name"},
                {"source": "phone", "target": "phone"},
                {"source": "city", "target": "town"},
            ],
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.tidelock.configure(&config);
    }

    /// Both tables' mapped columns, in key order.
    pub async fn contents(&self) -> (Vec<Vec<Option<String>>>, Vec<Vec<Option<String>>>) {
        let source = "SELECT CAST(id AS TEXT), name, phone, city FROM customers ORDER BY id";
        let target = "SELECT CAST(client_id AS TEXT), full_name, phone, town FROM clients ORDER BY client_id";
        (self.source.rows(source).await, self.target.rows(target).await)
    }

    /// Both sides are equal, the audit says so, and nothing is left to write.
    pub async fn settled(&self) {
        let (source, target) = self.contents().await;
        assert_eq!(source, target);
        let audit = self.tidelock.audit(0);
        assert_eq!(audit.number("compared"), source.len() as u64);
        assert_eq!(audit.number("matching"), source.len() as u64);
        self.quiet();
    }

    /// One more run writes nothing.
    pub fn quiet(&self) {
        let again = self.tidelock.once(0);
        assert_eq!((again.number("written_source"), again.number("written_target")), (0, 0), "{}", again.lines[0]);
    }
}
