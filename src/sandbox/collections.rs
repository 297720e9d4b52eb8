//! sObject Collections: up to 200 records in one request, a result for each, and all or none where that is asked.

use serde_json::{Value, json};

use super::exchange::{Answer, Refusal};
use super::ids;
use super::org::{Call, Org, object_named};
use super::rows::{object_of, record};
use super::store::is_deleted;
use super::write::{Input, Upserted, Writer};

const RECORDS_MAX: usize = 200;
/// Runs of records of one type.
const CHUNKS_MAX: usize = 10;
const READ_MAX: usize = 2000;

/// The requests whose path begins with `composite/sobjects`.
pub(super) fn answer(org: &mut Org, call: &Call<'_>, rest: &[&str]) -> Result<Answer, Refusal> {
    match (call.request.method.as_str(), rest) {
        ("POST", []) => {
            let (records, all_or_none) = records(call)?;
            check_chunks(&records)?;
            Ok(each(org, call, &records, all_or_none, create))
        }
        ("PATCH", []) => {
            let (records, all_or_none) = records(call)?;
            check_chunks(&records)?;
            Ok(each(org, call, &records, all_or_none, update))
        }
        ("PATCH", [name, field]) => {
            let (records, all_or_none) = records(call)?;
            super::write::key_field(object_named(&org.seen, name)?, field)?;
            if records.iter().any(|record| object_name(record).is_none_or(|other| !other.eq_ignore_ascii_case(name))) {
                return Err(Refusal::new(
                    "INVALID_INPUT",
                    "All records of an upsert are of the type that its address names",
                ));
            }
            Ok(each(org, call, &records, all_or_none, |writer, record| upsert(writer, record, name, field)))
        }
        ("DELETE", []) => {
            let ids: Vec<&str> = call.request.parameter("ids").unwrap_or_default().split(',').collect();
            let all_or_none = call.request.parameter("allOrNone") == Some("true");
            check_count(ids.len(), RECORDS_MAX)?;
            Ok(each(org, call, &ids, all_or_none, |writer, id| {
                writer.delete(object_of(writer.schema, id)?, id, false).map(|id| succeeded(&id))
            }))
        }
        ("GET", [name]) => {
            let list = |parameter| call.request.parameter(parameter).unwrap_or_default().to_owned();
            read(org, call, name, &list("ids").split(',').map(str::to_owned).collect::<Vec<_>>(), &list("fields"))
        }
        ("POST", [name]) => {
            let body = call.request.json()?;
            let list = |key: &str| -> Vec<String> {
                let items = body.get(key).and_then(Value::as_array).into_iter().flatten();
                items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
            };
            read(org, call, name, &list("ids"), &list("fields").join(","))
        }
        _ => Err(Refusal::not_found()),
    }
}

/// Does one thing to each; where all or none is asked, everything is taken back once one of them failed.
pub(super) fn each<T>(
    org: &mut Org,
    call: &Call<'_>,
    items: &[T],
    all_or_none: bool,
    mut act: impl FnMut(&mut Writer<'_>, &T) -> Result<Value, Refusal>,
) -> Answer {
    org.store.begin();
    let mut results: Vec<Result<Value, Refusal>> =
        org.write(call.within, false, |writer| items.iter().map(|item| act(writer, item)).collect());
    if all_or_none && results.iter().any(Result::is_err) {
        org.store.roll_back(&org.schema);
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            let message =
                "Record rolled back because not all records were valid and the request was using AllOrNone header";
            *result = Err(Refusal::new("ALL_OR_NONE_OPERATION_ROLLED_BACK", message));
        }
    } else {
        org.store.commit();
    }
    let results: Vec<Value> =
        results.into_iter().map(|result| result.unwrap_or_else(|refusal| refusal.result())).collect();
    Answer::ok(&json!(results))
}

fn create(writer: &mut Writer<'_>, record: &Input) -> Result<Value, Refusal> {
    let object = typed(writer, record)?;
    writer.create(object, record).map(|id| succeeded(&id))
}

fn update(writer: &mut Writer<'_>, record: &Input) -> Result<Value, Refusal> {
    let object = typed(writer, record)?;
    let mut record = record.clone();
    let id = ["Id", "id"].into_iter().find_map(|name| record.remove(name));
    let id = id
        .as_ref()
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::field("MISSING_ARGUMENT", "Id", "Id not specified in an update call"))?;
    writer.update(object, id, &record).map_err(in_collection).map(|id| succeeded(&id))
}

/// In a list, a record that is not there is a wrong reference.
fn in_collection(refusal: Refusal) -> Refusal {
    if refusal.code == "NOT_FOUND" {
        Refusal::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    } else {
        refusal
    }
}

fn upsert(writer: &mut Writer<'_>, record: &Input, name: &str, field: &str) -> Result<Value, Refusal> {
    let object = object_named(writer.schema, name)?;
    let mut record = record.clone();
    let place = record.keys().find(|key| key.eq_ignore_ascii_case(field)).cloned();
    let key = place.and_then(|key| record.remove(&key)).unwrap_or_default();
    if !field.eq_ignore_ascii_case("Id") && record.keys().any(|key| key.eq_ignore_ascii_case("Id")) {
        let message = "The Id field should not be specified in the sobject data.";
        return Err(Refusal::field("INVALID_FIELD", "Id", message));
    }
    match writer.upsert(object, field, &super::values::to_text(&key), &record).map_err(in_collection)? {
        Upserted::One(id, created) => Ok(json!({"id": id, "success": true, "errors": [], "created": created})),
        Upserted::Several(ids) => {
            let message = format!("{field}: more than one record found for external id field: [{}]", ids.join(", "));
            Err(Refusal::field("DUPLICATE_EXTERNAL_ID", field, message))
        }
    }
}

fn succeeded(id: &str) -> Value {
    json!({"id": id, "success": true, "errors": []})
}

fn object_name(record: &Input) -> Option<&str> {
    record.get("attributes")?.get("type")?.as_str()
}

fn typed<'s>(writer: &Writer<'s>, record: &Input) -> Result<&'s super::describe::Object, Refusal> {
    let name = object_name(record).unwrap_or_default();
    let unknown = || Refusal::new("INVALID_TYPE", format!("sObject type '{name}' is not supported."));
    writer.schema.object(name).ok_or_else(unknown)
}

/// The records of the body, and whether all or none are to be written.
fn records(call: &Call<'_>) -> Result<(Vec<Input>, bool), Refusal> {
    let body = call.request.json()?;
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or(false);
    let records = body.get("records").and_then(Value::as_array);
    let records = records.ok_or_else(|| Refusal::new("REQUIRED_FIELD_MISSING", "records is missing"))?;
    check_count(records.len(), RECORDS_MAX)?;
    let objects = records.iter().map(|record| {
        let object = record.as_object().filter(|record| object_name(record).is_some()).cloned();
        object.ok_or_else(|| Refusal::new("INVALID_INPUT", "Each record needs its attributes with a type"))
    });
    Ok((objects.collect::<Result<_, _>>()?, all_or_none))
}

fn check_count(count: usize, max: usize) -> Result<(), Refusal> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    let message = format!("The maximum number of records is {max}, and there must be one; {count} came");
    Err(Refusal::new("EXCEEDED_ID_LIMIT", message))
}

fn check_chunks(records: &[Input]) -> Result<(), Refusal> {
    let chunks = records.chunk_by(|one, two| object_name(one) == object_name(two)).count();
    if chunks > CHUNKS_MAX {
        return Err(Refusal::new(
            "INVALID_INPUT",
            format!("The records change their type {chunks} times; at most {CHUNKS_MAX} chunks"),
        ));
    }
    Ok(())
}

/// Records by their ids, null for those that are not there.
fn read(org: &Org, call: &Call<'_>, name: &str, ids: &[String], fields: &str) -> Result<Answer, Refusal> {
    let object = object_named(&org.seen, name)?;
    check_count(ids.len(), READ_MAX)?;
    if fields.is_empty() {
        return Err(Refusal::new("MISSING_ARGUMENT", "fields is missing"));
    }
    let one = |id: &String| -> Result<Value, Refusal> {
        let row = ids::normalize(id).and_then(|id| org.store.row(object, &id)).filter(|row| !is_deleted(row));
        row.map_or(Ok(Value::Null), |row| record(object, row, call.version, Some(fields)))
    };
    let records = ids.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(Answer::ok(&json!(records)))
}
