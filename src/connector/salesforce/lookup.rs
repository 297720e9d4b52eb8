//! Records by the values of their fields (layer 4).

use std::collections::HashMap;

use super::catalogue::Field;
use super::collection::Collection;
use super::write::token;
use super::{bulk, ids, soql, values};
use crate::connector::Mark;
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Record};
use crate::value::{Kind, Value};

const DOING: &str = "finding records";

/// Records whose fields have these values, all of them where `everything`, else those that the filter lets through.
///
/// # Errors
/// `SchemaMismatch` where a field is missing, or is none that queries can compare.
pub(super) async fn find(
    collection: &Collection,
    names: &[String],
    keys: &[Key],
    everything: bool,
) -> Result<Vec<Vec<Record>>> {
    let fields = names.iter().map(|name| comparable(collection, name)).collect::<Result<Vec<_>>>()?;
    let wanted: Vec<Option<Vec<Value>>> = keys.iter().map(|key| stored(&fields, key)).collect();
    let conditions: HashMap<&[Value], String> =
        wanted.iter().flatten().filter_map(|values| Some((&**values, condition(&fields, values)?))).collect();
    let literals: Vec<String> = conditions.into_values().collect();
    let filter = if everything { String::new() } else { collection.and_filter() };
    let mut found: HashMap<Vec<Value>, Vec<Record>> = HashMap::new();
    for part in soql::fitting(&literals) {
        let condition = match fields.as_slice() {
            [one] => format!("{} IN ({})", one.name, part.join(", ")),
            _ => format!("({})", part.join(" OR ")),
        };
        let soql = format!("{} WHERE {condition}{filter}", collection.select(&["Id"]));
        for row in collection.rows(DOING, &soql).await? {
            let record = collection.record(&row)?;
            let values =
                fields.iter().map(|field| values::read(field, row.get(&field.name)?)).collect::<Option<Vec<_>>>();
            // Queries do not tell capitals from small letters.
            found.entry(values.ok_or_else(|| collection.unreadable("a field"))?).or_default().push(record);
        }
    }
    let of = |wanted: &Option<Vec<Value>>| wanted.as_ref().and_then(|values| found.get(values)).cloned();
    Ok(wanted.iter().map(|wanted| of(wanted).unwrap_or_default()).collect())
}

fn comparable<'a>(collection: &'a Collection, name: &str) -> Result<&'a Field> {
    let refused = |code, text: String| collection.place.error(ErrorKind::SchemaMismatch, code, text);
    let field = collection.fields.iter().find(|field| field.name == *name);
    let field = field.ok_or_else(|| refused("salesforce.no_field", format!("there is no field {name} to look by")))?;
    if field.filterable && field.kind != Kind::Json {
        return Ok(field);
    }
    Err(refused("salesforce.not_filterable", format!("queries cannot compare {name}: records are not found by it")))
}

/// The values as Salesforce keeps them; `None` where one is null, or no id: nothing has it.
fn stored(fields: &[&Field], key: &Key) -> Option<Vec<Value>> {
    let one = |(field, value): (&&Field, &Value)| {
        let value = values::kept(field, value);
        let is_id = field.type_name() != "id" || matches!(&value, Value::Text(id) if ids::long(id).is_some());
        (!value.is_null() && is_id).then_some(value)
    };
    fields.iter().zip(&key.0).map(one).collect()
}

/// What a list of alternatives is made of: a literal where there is one field, else a condition.
fn condition(fields: &[&Field], values: &[Value]) -> Option<String> {
    match (fields, values) {
        ([_], [value]) => soql::literal(value),
        _ => {
            let parts = fields
                .iter()
                .zip(values)
                .map(|(field, value)| Some(format!("{} = {}", field.name, soql::literal(value)?)));
            Some(format!("({})", parts.collect::<Option<Vec<_>>>()?.join(" AND ")))
        }
    }
}

/// Records that may have come of creates whose answer was lost: by the name that the create was given, else those that our user made and that are
/// called as was asked for. Each as it was stored then.
///
/// # Errors
/// As for any query.
pub(super) async fn made(
    collection: &Collection,
    of: Mark<'_>,
    creates: &[(usize, Record)],
) -> Result<Vec<Vec<Record>>> {
    if let Some(field) = &collection.token_field {
        // A job may still be making them.
        bulk::earlier::settle(collection, field).await?;
        return by_token(collection, field, of, creates).await;
    }
    let mut by_field: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, (_, record)) in creates.iter().enumerate() {
        if let Some(field) = telling(collection, record) {
            by_field.entry(&field.name).or_default().push(place);
        }
    }
    let (_, user) = collection.org.identity().await?;
    let mut made = vec![Vec::new(); creates.len()];
    for (name, places) in by_field {
        let literal = |place: &usize| {
            let field = collection.object.field(name)?;
            soql::literal(&values::kept(field, creates.get(*place)?.1.get(name)?))
        };
        let literals: std::collections::BTreeSet<String> = places.iter().filter_map(literal).collect();
        let mut candidates = Vec::new();
        for part in soql::fitting(&literals.into_iter().collect::<Vec<_>>()) {
            let (select, list) = (collection.select(&["Id"]), part.join(", "));
            let soql =
                format!("{select} WHERE CreatedById = {} AND {name} IN ({list}) ORDER BY Id", soql::quoted(&user));
            for row in collection.rows(DOING, &soql).await? {
                candidates.push(collection.record(&row)?);
            }
        }
        for place in places {
            if let (Some(slot), Some((_, record))) = (made.get_mut(place), creates.get(place)) {
                let alike = |there: &&Record| is_like(collection, name, record, there);
                *slot = candidates.iter().filter(alike).map(|there| as_made(collection, record, there)).collect();
            }
        }
    }
    Ok(made)
}

/// Whether a field of both says the same.
fn is_like(collection: &Collection, name: &str, asked: &Record, there: &Record) -> bool {
    let (field, asked, there) = (collection.object.field(name), asked.get(name), there.get(name));
    matches!((field, asked, there), (Some(field), Some(asked), Some(there)) if values::became(field, asked, there))
}

/// A record as it was stored when it was made: what somebody has changed since is an edit, and not what we asked for.
fn as_made(collection: &Collection, asked: &Record, there: &Record) -> Record {
    let mut made = there.clone();
    for (name, value) in asked.iter().filter(|(name, _)| !is_like(collection, name, asked, there)) {
        if let Some(field) = collection.object.field(name) {
            made.set(name, values::kept(field, value));
        }
    }
    made
}

async fn by_token(
    collection: &Collection,
    field: &Field,
    of: Mark<'_>,
    creates: &[(usize, Record)],
) -> Result<Vec<Vec<Record>>> {
    let token = |place: usize| token(collection, Some(Mark { first: 0, ..of }), place).map(|(_, token)| token);
    let tokens: Vec<String> = creates.iter().filter_map(|(place, _)| token(*place)).collect();
    let literals: Vec<String> = tokens.iter().map(|token| soql::quoted(token)).collect();
    let mut found: HashMap<String, Record> = HashMap::new();
    for part in soql::fitting(&literals) {
        let select = collection.select(&["Id", &field.name]);
        let soql = format!("{select} WHERE {} IN ({})", field.name, part.join(", "));
        for row in collection.rows(DOING, &soql).await? {
            if let Some(token) = Collection::text(&row, &field.name) {
                found.insert(token, collection.record(&row)?);
            }
        }
    }
    let made = |(token, (_, asked)): (&String, &(usize, Record))| {
        found.get(token).map(|there| as_made(collection, asked, there)).into_iter().collect()
    };
    Ok(tokens.iter().zip(creates).map(made).collect())
}

/// The field of a record by which it is best looked for.
fn telling<'a>(collection: &'a Collection, record: &Record) -> Option<&'a Field> {
    let set = record.iter().filter(|(_, value)| soql::literal(value).is_some());
    let fields = set.filter_map(|(name, _)| collection.object.field(name)).filter(|field| field.filterable);
    fields.max_by_key(|field| (field.is_external_id(), field.name == "Name", field.kind == Kind::Text))
}
