//! The JSON of systems and endpoints (layer 2).

use schemars::JsonSchema;
use serde::Deserialize;

use super::Place;

/// How a system is reached.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct System {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// `postgres`, `sqlite`, … .
    #[serde(rename = "type")]
    pub(crate) system_type: String,
    /// File of an embedded database, relative to this file's folder.
    #[schemars(length(min = 1))]
    pub(crate) path: Option<String>,
    /// Connection URL.
    #[schemars(length(min = 1))]
    pub(crate) url: Option<String>,
    /// How long the system may be silent before it is given up and reached anew, in seconds (default 900; 0: for ever).
    #[schemars(range(max = 86400))]
    pub(crate) timeout_seconds: Option<u32>,
    /// The field by which a SaaS upserts, or, where no mapping fills it, the one that names what was created: the same in each object.
    #[schemars(length(min = 1))]
    pub(crate) external_id: Option<String>,
    /// From how many records on a SaaS is read and loaded through its interface for many (Bulk API; default 10000; 0: never).
    pub(crate) bulk_threshold: Option<u32>,
    /// How to log in.
    pub(crate) credentials: Option<Credentials>,
}

/// One end of a sync: a system and a table or object of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// `postgres`, `sqlite`, … .
    #[serde(rename = "type")]
    pub(crate) system_type: String,
    /// Name used in priority rules; default: `source` or `target`.
    #[schemars(length(min = 1))]
    pub(crate) name: Option<String>,
    /// The table.
    #[schemars(length(min = 1))]
    pub(crate) table: Option<String>,
    /// The object of a SaaS.
    #[schemars(length(min = 1))]
    pub(crate) object: Option<String>,
    /// The column that moves forward at each write: polling goes by it.
    #[schemars(length(min = 1))]
    pub(crate) updated_at: Option<String>,
    /// The field by which a SaaS upserts, or, where no mapping fills it, the one that names what was created.
    #[schemars(length(min = 1))]
    pub(crate) external_id: Option<String>,
    /// From how many records on a SaaS is read and loaded through its interface for many (Bulk API; default 10000; 0: never).
    pub(crate) bulk_threshold: Option<u32>,
    /// File of an embedded database, relative to this file's folder.
    #[schemars(length(min = 1))]
    pub(crate) path: Option<String>,
    /// Connection URL.
    #[schemars(length(min = 1))]
    pub(crate) url: Option<String>,
    /// How long the system may be silent before it is given up and reached anew, in seconds (default 900; 0: for ever).
    #[schemars(range(max = 86400))]
    pub(crate) timeout_seconds: Option<u32>,
    /// How to log in.
    pub(crate) credentials: Option<Credentials>,
}

/// How to log in: a URL, or its parts, or what a SaaS asks for. Take secrets from the environment: `"${CRM_PASSWORD}"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Option<Place>,
    /// Connection URL, in place of its parts.
    #[schemars(length(min = 1))]
    pub(crate) url: Option<String>,
    /// File of an embedded database, relative to this file's folder.
    #[schemars(length(min = 1))]
    pub(crate) path: Option<String>,
    /// Host.
    #[schemars(length(min = 1))]
    pub(crate) host: Option<String>,
    /// Port.
    #[schemars(range(min = 1))]
    pub(crate) port: Option<u16>,
    /// Database.
    #[schemars(length(min = 1))]
    pub(crate) database: Option<String>,
    /// Schema.
    pub(crate) schema: Option<String>,
    /// User.
    #[schemars(length(min = 1))]
    pub(crate) user: Option<String>,
    /// User, as a SaaS calls it.
    pub(crate) username: Option<String>,
    /// Password.
    pub(crate) password: Option<String>,
    /// Unix socket of a MySQL server.
    #[schemars(length(min = 1))]
    pub(crate) socket: Option<String>,
    /// TLS to a MySQL server: `disabled`, `preferred`, `required`, `verify_ca` or `verify_identity`.
    pub(crate) ssl_mode: Option<String>,
    /// File of the authorities that a MySQL server's certificate may come from.
    #[schemars(length(min = 1))]
    pub(crate) ssl_ca: Option<String>,
    /// Number by which a MySQL server knows us among its replicas where we read its log (default: one at random).
    #[schemars(range(min = 1))]
    pub(crate) server_id: Option<u32>,
    /// `oauth2`.
    pub(crate) auth_type: Option<String>,
    /// `client_credentials`, `jwt_bearer`, `refresh_token` or `password`.
    pub(crate) grant: Option<String>,
    /// Address of the SaaS.
    pub(crate) instance_url: Option<String>,
    /// Address of Salesforce's Pub/Sub API (default `api.pubsub.salesforce.com:7443`).
    #[schemars(length(min = 1))]
    pub(crate) pubsub_endpoint: Option<String>,
    /// OAuth client.
    pub(crate) client_id: Option<String>,
    /// OAuth client's secret.
    pub(crate) client_secret: Option<String>,
    /// OAuth refresh token.
    pub(crate) refresh_token: Option<String>,
    /// File of the refresh token, where the org replaces it: the newest one is kept there.
    #[schemars(length(min = 1))]
    pub(crate) refresh_token_file: Option<String>,
    /// Token of an API.
    pub(crate) access_token: Option<String>,
    /// Token of an API, as Zendesk calls it.
    pub(crate) api_token: Option<String>,
    /// File of a private key.
    pub(crate) private_key_file: Option<String>,
    /// Version of the API.
    pub(crate) api_version: Option<String>,
    /// Account of a SaaS or warehouse.
    pub(crate) account: Option<String>,
    /// Subdomain of a SaaS.
    pub(crate) subdomain: Option<String>,
    /// Warehouse of Snowflake.
    pub(crate) warehouse: Option<String>,
    /// Role of Snowflake.
    pub(crate) role: Option<String>,
}
