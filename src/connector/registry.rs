//! The only list of connectors: type name in the configuration → connector.

use std::sync::Arc;

use super::{Connector, mysql, postgres, salesforce, sqlite};

/// Type names that can be opened.
pub const SYSTEM_TYPES: &[&str] = &["mysql", "postgres", "salesforce", "sqlite"];

/// Type names of the design that no connector serves yet.
pub const PLANNED_SYSTEM_TYPES: &[&str] = &["netsuite", "rest", "snowflake", "zendesk"];

/// The connector of a type name.
pub fn connector(system_type: &str) -> Option<Arc<dyn Connector>> {
    match system_type {
        "mysql" => Some(Arc::new(mysql::Mysql::default())),
        "postgres" => Some(Arc::new(postgres::Postgres::default())),
        "salesforce" => Some(Arc::new(salesforce::Salesforce::default())),
        "sqlite" => Some(Arc::new(sqlite::Sqlite::default())),
        _ => None,
    }
}
