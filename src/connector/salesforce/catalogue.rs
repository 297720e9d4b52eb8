//! What `describe` says about an object (layer 4): its fields as columns. Field-level security has taken out what the user may not see.

use serde::Deserialize;

use super::org::{Ask, Org};
use crate::config::suggestion;
use crate::connector::{Column, Keeps, Schema};
use crate::error::{ErrorKind, Result};
use crate::value::Kind;

/// The field that says when a record changed last, also where no person did it.
pub(super) const STAMP: &str = "SystemModstamp";

/// An object.
#[derive(Debug)]
pub(super) struct Object {
    /// In the org's own spelling.
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// `currency`, `picklist`, …
    pub(super) native_type: String,
    pub(super) kind: Kind,
    nullable: bool,
    defaulted: bool,
    createable: bool,
    updateable: bool,
    unique: bool,
    external_id: bool,
    pub(super) filterable: bool,
    /// Digits behind the point.
    pub(super) scale: u32,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    fields: Vec<DescribedField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedField {
    name: String,
    #[serde(rename = "type")]
    native_type: String,
    length: u32,
    scale: u32,
    precision: u32,
    nillable: bool,
    defaulted_on_create: bool,
    createable: bool,
    updateable: bool,
    unique: bool,
    external_id: bool,
    #[serde(default)]
    filterable: bool,
}

#[derive(Deserialize)]
struct Listed {
    sobjects: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Asks for an object's description.
///
/// # Errors
/// `SchemaMismatch` that names near objects where there is none of that name.
pub(super) async fn describe(org: &Org, name: &str) -> Result<Object> {
    let place = org.place(name);
    let doing = "describing the object";
    // The name goes into addresses and queries.
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let path = format!("sobjects/{name}/describe");
    let answer = match if is_name { Some(org.read(&place, Ask::get(doing, &path)).await) } else { None } {
        Some(Ok(answer)) => Some(answer),
        Some(Err(error)) if error.kind != ErrorKind::SchemaMismatch => return Err(error),
        Some(Err(_)) | None => None,
    };
    let Some(answer) = answer else {
        let answer = org.read(&place, Ask::get(doing, "sobjects")).await?;
        let listed: Listed = serde_json::from_slice(&answer.body).map_err(|error| place.garbled(doing, error))?;
        let names: Vec<&str> = listed.sobjects.iter().map(|object| object.name.as_str()).collect();
        let near = suggestion(name, &names).map(|near| format!("; {near}")).unwrap_or_default();
        let text = format!("there is no object {name} that this user may see{near}");
        return Err(place.error(ErrorKind::SchemaMismatch, "salesforce.no_object", text));
    };
    let described: Described = serde_json::from_slice(&answer.body).map_err(|error| place.garbled(doing, error))?;
    Ok(Object { name: described.name, fields: described.fields.into_iter().filter_map(Field::of).collect() })
}

impl Field {
    /// `None` for what cannot be read in a query's rows (files) or is of no known type.
    fn of(field: DescribedField) -> Option<Self> {
        let kind = match field.native_type.as_str() {
            "boolean" => Kind::Boolean,
            "int" | "long" => Kind::Int,
            "double" | "currency" | "percent" => Kind::Decimal,
            "date" => Kind::Date,
            "datetime" => Kind::Instant,
            "time" => Kind::Time,
            // Compound: they are read as a whole, and written by their parts.
            "address" | "location" | "complexvalue" => Kind::Json,
            "base64" => return None,
            _ => Kind::Text,
        };
        let compound = kind == Kind::Json;
        let native_type = if kind == Kind::Decimal {
            format!("{}({},{})", field.native_type, field.precision, field.scale)
        } else if kind == Kind::Text && field.length > 0 {
            format!("{}({})", field.native_type, field.length)
        } else {
            field.native_type
        };
        Some(Self {
            name: field.name,
            native_type,
            kind,
            nullable: field.nillable || kind == Kind::Json,
            defaulted: field.defaulted_on_create,
            createable: field.createable && !compound,
            updateable: field.updateable && !compound,
            unique: field.unique,
            external_id: field.external_id,
            filterable: field.filterable && !compound,
            scale: field.scale,
        })
    }

    /// Whether records can be upserted by it.
    pub(super) fn is_external_id(&self) -> bool {
        self.external_id
    }

    /// Whether no two records have the same value.
    pub(super) fn is_unique(&self) -> bool {
        self.unique
    }

    /// `picklist`, without its length.
    pub(super) fn type_name(&self) -> &str {
        self.native_type.split('(').next().unwrap_or_default()
    }

    /// Whether it may be sent at all.
    pub(super) fn is_writable(&self) -> bool {
        self.createable || self.updateable
    }
}

impl Object {
    /// A field by its name.
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// As every system's catalogue says it.
    pub(super) fn schema(&self) -> Schema {
        let columns = self.fields.iter().map(|field| Column {
            name: field.name.clone(),
            kind: field.kind,
            native_type: field.native_type.clone(),
            nullable: field.nullable,
            has_default: field.defaulted || field.kind == Kind::Boolean,
            writable: field.is_writable(),
            keeps: Keeps::default(),
        });
        let key = vec!["Id".to_owned()];
        let unique = self.fields.iter().filter(|field| field.unique).map(|field| vec![field.name.clone()]);
        let unique = std::iter::once(key.clone()).chain(unique).collect();
        Schema { columns: columns.collect(), unique, key, view: false }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field from its description.
    pub(in crate::connector::salesforce) fn field(described: serde_json::Value) -> Field {
        Field::of(serde_json::from_value(described).unwrap()).unwrap()
    }

    fn described(native_type: &str) -> serde_json::Value {
        serde_json::json!({
            "name": "F", "type": native_type, "length": 80, "scale": 2, "precision": 18, "nillable": true, "defaultedOnCreate": false,
            "createable": true, "updateable": false, "unique": true, "externalId": true, "filterable": true, "label": "more",
        })
    }

    #[test]
    fn types_are_read_as_kinds_and_files_are_left_out() {
        let kind = |name| field(described(name)).kind;
        let kinds = ["picklist", "reference", "currency", "datetime", "address"].map(kind);
        assert_eq!(kinds, [Kind::Text, Kind::Text, Kind::Decimal, Kind::Instant, Kind::Json]);
        assert_eq!(Field::of(serde_json::from_value(described("base64")).unwrap()), None);
        assert_eq!(field(described("currency")).native_type, "currency(18,2)");
        assert_eq!(field(described("string")).native_type, "string(80)");
    }

    #[test]
    fn compound_fields_are_never_written() {
        assert!(field(described("string")).is_writable());
        assert!(!field(described("address")).is_writable());
        let object = Object { name: "Account".to_owned(), fields: vec![field(described("string"))] };
        assert!(object.schema().is_unique(&["F".to_owned()]) && object.schema().is_unique(&["Id".to_owned()]));
    }
}
