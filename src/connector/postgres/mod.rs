//! The PostgreSQL connector.

use async_trait::async_trait;

use super::{Connector, OpenOptions, Schema, Side};
use crate::config::Endpoint;
use crate::error::{Result, SyncError};

/// The PostgreSQL connector.
#[derive(Debug, Default)]
pub struct Postgres {}

#[async_trait]
impl Connector for Postgres {
    async fn describe(&self, _endpoint: &Endpoint) -> Result<Schema> {
        Err(SyncError::internal("postgres: being written"))
    }

    async fn open(&self, _endpoint: &Endpoint, _schema: &Schema, _options: OpenOptions) -> Result<Side> {
        Err(SyncError::internal("postgres: being written"))
    }
}
