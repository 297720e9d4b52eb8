//! Composite requests: up to 25 in one, later ones may name what earlier ones answered.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::exchange::{Answer, Refusal, Request};
use super::org::{Call, Org};

const REQUESTS_MAX: usize = 25;

/// `composite`.
pub(super) fn answer(org: &mut Org, call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.request.json()?;
    let all_or_none = body.get("allOrNone").and_then(Value::as_bool).unwrap_or(false);
    let parts = body.get("compositeRequest").and_then(Value::as_array);
    let parts = parts.ok_or_else(|| Refusal::new("REQUIRED_FIELD_MISSING", "compositeRequest is missing"))?;
    if parts.is_empty() || parts.len() > REQUESTS_MAX {
        return Err(Refusal::new(
            "LIMIT_EXCEEDED",
            format!("1 to {REQUESTS_MAX} requests are taken, {} came", parts.len()),
        ));
    }
    let mut answers: HashMap<String, Value> = HashMap::new();
    let mut results: Vec<Value> = Vec::new();
    org.store.begin();
    let mut failed = false;
    for part in parts {
        let name = text(part, "referenceId");
        let answer = if failed && all_or_none {
            halted("The transaction was rolled back since another operation in the same transaction failed.")
        } else {
            one(org, call, part, &answers)
        };
        failed |= !answer.status.is_success();
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status.is_success() {
            answers.insert(name.to_owned(), said.clone());
        }
        results.push(
            json!({"body": said, "httpHeaders": {}, "httpStatusCode": answer.status.as_u16(), "referenceId": name}),
        );
    }
    if failed && all_or_none {
        org.store.roll_back(&org.schema);
        take_back(&mut results);
    } else {
        org.store.commit();
    }
    Ok(Answer::ok(&json!({"compositeResponse": results})))
}

/// What had been done is answered as not done.
fn take_back(results: &mut [Value]) {
    for result in results {
        let done = result.get("httpStatusCode").and_then(Value::as_u64).is_some_and(|status| status < 300);
        if let (true, Some(result)) = (done, result.as_object_mut()) {
            let message = "The transaction was rolled back since another operation in the same transaction failed.";
            result.insert("body".to_owned(), json!([{"errorCode": "PROCESSING_HALTED", "message": message}]));
            result.insert("httpStatusCode".to_owned(), json!(400));
        }
    }
}

fn one(org: &mut Org, call: &Call<'_>, part: &Value, answers: &HashMap<String, Value>) -> Answer {
    let filled = fill(part, answers);
    let Some(part) = filled else { return halted("Invalid reference specified: it was not answered.") };
    let mut headers = HeaderMap::new();
    for (name, value) in part.get("httpHeaders").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (HeaderName::try_from(name.as_str()), value) {
            headers.insert(name, value);
        }
    }
    let body = part.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = Request::new(text(&part, "method"), text(&part, "url"), headers, body);
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let answered = match segments.as_slice() {
        ["services", "data", version, rest @ ..] if *version == call.version && rest != ["composite"] => {
            org.route(&Call { request: &request, version: call.version, within: call.within }, rest)
        }
        _ => Err(Refusal::not_found()),
    };
    answered.unwrap_or_else(|refusal| refusal.answer())
}

fn text<'a>(part: &'a Value, key: &str) -> &'a str {
    part.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn halted(message: &str) -> Answer {
    Refusal::new("PROCESSING_HALTED", message).answer()
}

/// Puts answers in for `@{name.path}`; `None` where there is none.
fn fill(value: &Value, answers: &HashMap<String, Value>) -> Option<Value> {
    Some(match value {
        Value::String(text) => Value::String(fill_text(text, answers)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, answers)).collect::<Option<_>>()?),
        Value::Object(fields) => {
            let filled = fields.iter().map(|(name, value)| Some((name.clone(), fill(value, answers)?)));
            Value::Object(filled.collect::<Option<Map<_, _>>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn fill_text(text: &str, answers: &HashMap<String, Value>) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@{") {
        let (reference, after) = after.split_once('}')?;
        let (name, path) = reference.split_once('.')?;
        let pointer = format!("/{}", path.replace("].", "/").replace(['.', '['], "/").replace(']', ""));
        filled.push_str(before);
        filled.push_str(&super::values::to_text(answers.get(name)?.pointer(&pointer)?));
        rest = after;
    }
    Some(filled + rest)
}
