//! `/sobjects`: descriptions and single records.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::clock::{http_date, parse_datetime, parse_http_date};
use super::describe::{Kind, LAST_MODIFIED_DATE, Object, Schema};
use super::exchange::{Answer, Refusal};
use super::ids;
use super::org::{Call, Org, object_named};
use super::replication;
use super::store::{Row, Store, at, attributes, is_deleted, read};
use super::write::{Upserted, key_field};

/// The requests whose path begins with `sobjects`.
pub(super) fn answer(org: &mut Org, call: &Call<'_>, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.request.method.as_str(), rest) {
        ("GET", []) => {
            let objects: Vec<Value> = org.seen.objects().map(|object| object.summary(call.version)).collect();
            Ok(Answer::ok(&json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})))
        }
        ("GET", [name]) => {
            let object = object_named(&org.seen, name)?;
            Ok(Answer::ok(&json!({"objectDescribe": object.summary(call.version), "recentItems": []})))
        }
        ("POST", [name]) => create(org, call, name),
        ("GET", [name, "describe"]) => {
            let object = object_named(&org.seen, name)?;
            // The schema never changes while the sandbox runs, but for the user's rights.
            if org.rights.is_empty() && call.request.header("if-modified-since").and_then(parse_http_date).is_some() {
                return Ok(Answer::empty(StatusCode::NOT_MODIFIED));
            }
            Ok(Answer::ok(&object.describe(call.version, &org.seen)))
        }
        ("GET", [name, "updated"]) => replication::updated(org, call, object_named(&org.seen, name)?),
        ("GET", [name, "deleted"]) => replication::deleted(org, call, object_named(&org.seen, name)?),
        (method, [name, id]) => one(org, call, method, &Address { object: name, field: "Id", key: id }),
        ("PATCH", [name, field, key]) if !field.eq_ignore_ascii_case("Id") => {
            upsert(org, call, &Address { object: name, field, key })
        }
        (method, [name, field, key]) => one(org, call, method, &Address { object: name, field, key }),
        _ => Err(method_not_allowed(call)),
    }
}

/// How a request names a record.
struct Address<'a> {
    object: &'a str,
    field: &'a str,
    key: &'a str,
}

fn method_not_allowed(call: &Call<'_>) -> Refusal {
    Refusal::new("METHOD_NOT_ALLOWED", format!("HTTP Method '{}' not allowed.", call.request.method))
}

fn create(org: &mut Org, call: &Call<'_>, name: &str) -> Result<Answer, Refusal> {
    let input = call.request.json()?;
    let id = org.write(call.within, false, |writer| writer.create(object_named(writer.schema, name)?, &input))?;
    Ok(Answer::json(StatusCode::CREATED, &json!({"id": id, "success": true, "errors": []})))
}

fn one(org: &mut Org, call: &Call<'_>, method: &str, address: &Address<'_>) -> Result<Answer, Refusal> {
    let object = object_named(&org.seen, address.object)?;
    let id = match found(&org.store, object, address)? {
        Ok(id) => id,
        Err(several) => return Ok(multiple_choices(call, object, &several)),
    };
    let row = org.store.row(object, &id).ok_or_else(Refusal::not_found)?;
    match method {
        "GET" => {
            if is_deleted(row) {
                return Err(Refusal::new("NOT_FOUND", "The requested resource does not exist"));
            }
            if unmodified(call, row)? {
                return Ok(Answer::empty(StatusCode::NOT_MODIFIED));
            }
            let record = record(object, row, call.version, call.request.parameter("fields"))?;
            let stamp = at(row, LAST_MODIFIED_DATE).as_str().and_then(parse_datetime).unwrap_or(0);
            Ok(Answer::ok(&record).with("last-modified", http_date(stamp)))
        }
        "PATCH" => {
            check_precondition(call, row)?;
            let input = call.request.json()?;
            org.write(call.within, false, |writer| {
                writer.update(object_named(writer.schema, address.object)?, &id, &input)
            })?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        "DELETE" => {
            org.write(call.within, false, |writer| {
                writer.delete(object_named(writer.schema, address.object)?, &id, false)
            })?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(method_not_allowed(call)),
    }
}

/// The record that is meant; the inner error has all of several.
fn found(store: &Store, object: &Object, address: &Address<'_>) -> Result<Result<String, Vec<String>>, Refusal> {
    let (place, field) = key_field(object, address.field)?;
    if field.kind == Kind::Id {
        let id = ids::normalize(address.key).filter(|id| id.starts_with(&object.prefix));
        return id.map(Ok).ok_or_else(Refusal::not_found);
    }
    let holders = store.holders(object, place, address.key.trim());
    match holders.as_slice() {
        [] => Err(Refusal::not_found()),
        [id] => Ok(Ok(id.clone())),
        _ => Ok(Err(holders)),
    }
}

fn upsert(org: &mut Org, call: &Call<'_>, address: &Address<'_>) -> Result<Answer, Refusal> {
    let input = call.request.json()?;
    let object = object_named(&org.seen, address.object)?;
    if let Some(name) = input.keys().find(|name| name.eq_ignore_ascii_case(address.field)) {
        let message = format!("The {name} field should not be specified in the sobject data.");
        return Err(Refusal::field("INVALID_FIELD", name, message));
    }
    if let Ok(Ok(id)) = found(&org.store, object, address)
        && let Some(row) = org.store.row(object, &id)
    {
        check_precondition(call, row)?;
    }
    let upserted = org.write(call.within, false, |writer| {
        writer.upsert(object_named(writer.schema, address.object)?, address.field, address.key, &input)
    })?;
    let answer = |status, id: &str, created| {
        Answer::json(status, &json!({"id": id, "success": true, "errors": [], "created": created}))
    };
    Ok(match upserted {
        Upserted::One(id, true) => answer(StatusCode::CREATED, &id, true),
        Upserted::One(_, false) if call.within.upsert_without_body => Answer::empty(StatusCode::NO_CONTENT),
        Upserted::One(id, false) => answer(StatusCode::OK, &id, false),
        Upserted::Several(ids) => multiple_choices(call, object_named(&org.seen, address.object)?, &ids),
    })
}

fn multiple_choices(call: &Call<'_>, object: &Object, ids: &[String]) -> Answer {
    let urls: Vec<String> =
        ids.iter().map(|id| format!("/services/data/{}/sobjects/{}/{id}", call.version, object.name)).collect();
    Answer::json(StatusCode::MULTIPLE_CHOICES, &json!(urls))
}

/// A record as it is read: all fields, or those that are named.
pub(super) fn record(object: &Object, row: &Row, version: &str, fields: Option<&str>) -> Result<Value, Refusal> {
    let mut record = Map::new();
    record.insert("attributes".to_owned(), attributes(object, row, version));
    let named: Option<Vec<&str>> =
        fields.map(|fields| fields.split(',').map(str::trim).filter(|name| !name.is_empty()).collect());
    let names = named.unwrap_or_else(|| {
        object.fields().iter().filter(|field| !field.hidden).map(|field| field.name.as_str()).collect()
    });
    for name in names.into_iter().chain(["Id"]) {
        let (place, field) = object.field(name).ok_or_else(|| {
            Refusal::new("INVALID_FIELD", format!("No such column '{name}' on sobject of type {}", object.name))
        })?;
        record.insert(field.name.clone(), read(object, row, place));
    }
    Ok(Value::Object(record))
}

/// Whether the record is as old as `If-Modified-Since` says.
fn unmodified(call: &Call<'_>, row: &Row) -> Result<bool, Refusal> {
    Ok(dated(call, "if-modified-since")?.is_some_and(|since| modified(row) <= since))
}

/// `If-Unmodified-Since`, in whole seconds as all of HTTP.
fn check_precondition(call: &Call<'_>, row: &Row) -> Result<(), Refusal> {
    if dated(call, "if-unmodified-since")?.is_some_and(|since| modified(row) > since) {
        let message = "The record was modified after the date of the If-Unmodified-Since header.";
        return Err(Refusal::new("PRECONDITION_FAILED", message));
    }
    Ok(())
}

fn modified(row: &Row) -> i64 {
    at(row, LAST_MODIFIED_DATE).as_str().and_then(parse_datetime).unwrap_or(0)
}

fn dated(call: &Call<'_>, header: &str) -> Result<Option<i64>, Refusal> {
    let Some(text) = call.request.header(header) else { return Ok(None) };
    match parse_http_date(text) {
        Some(ms) => Ok(Some(ms)),
        None => Err(Refusal::new("INVALID_HEADER", format!("{header} is no date of HTTP"))),
    }
}

/// The object that an id belongs to, by its prefix.
pub(super) fn object_of<'s>(schema: &'s Schema, id: &str) -> Result<&'s Object, Refusal> {
    let malformed = || Refusal::field("MALFORMED_ID", "Id", format!("malformed id {id}"));
    let id = ids::normalize(id).ok_or_else(malformed)?;
    schema.objects().find(|object| id.starts_with(&object.prefix)).ok_or_else(malformed)
}
