//! The JSON Schema of the configuration (layer 2), generated from `raw`.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::ReplaceUnevaluatedProperties;
use serde_json::Value;

use super::raw;

/// The JSON Schema (draft 2020-12) of a configuration file: for editors, and what `structure` checks every file against.
pub fn schema() -> &'static Value {
    &SCHEMA
}

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with_transform(ReplaceUnevaluatedProperties::default());
    let mut schema = settings.into_generator().into_root_schema_for::<raw::File>();
    schema.insert("title".to_owned(), Value::from("tidelock configuration"));
    schema.to_value()
});
