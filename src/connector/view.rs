//! Views (layer 3): read only, without triggers, and with the key that the configuration names.

use super::Column;

/// What a person has to say about a view before it can be read.
const UNKEYED: &str = "is a view, which has no key of its own: say which of its columns tell its records apart, \
    e.g. \"key\": {\"source\": \"id\", \"target\": \"id\"}";

/// Makes the columns those of a view whose records are told apart by `key`.
///
/// # Errors
/// Where no key is named, or one that is not there; for people, to stand behind the view's name.
pub fn keyed_by<'a>(columns: impl Iterator<Item = &'a mut Column>, key: &[String]) -> Result<Vec<String>, String> {
    if key.is_empty() {
        return Err(UNKEYED.to_owned());
    }
    let mut missing = key.to_vec();
    for column in columns {
        column.writable = false;
        column.has_default = false;
        column.nullable = !key.contains(&column.name);
        missing.retain(|name| *name != column.name);
    }
    match missing.first() {
        Some(name) => Err(format!("is a view without the column \"{name}\", which \"key\" names")),
        None => Ok(key.to_vec()),
    }
}
