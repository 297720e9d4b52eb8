//! What a test tells the sandbox beside the API: its clock, its faults, its journal, and edits that somebody else makes.

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::clock::datetime;
use super::exchange::Request;
use super::exchange::{Answer, Refusal};
use super::faults::Faults;
use super::org::{Org, Within, object_named};

/// The requests whose path begins with `sandbox`.
pub(super) fn answer(org: &mut Org, request: &Request, rest: &[&str]) -> Result<Answer, Refusal> {
    match (request.method.as_str(), rest) {
        ("GET", ["journal"]) => {
            let since = request.parameter("since").and_then(|since| since.parse().ok()).unwrap_or(0);
            Ok(Answer::ok(&org.journal.tell(since)))
        }
        ("DELETE", ["journal"]) => {
            org.journal.clear();
            Ok(done())
        }
        ("GET", ["faults"]) => Ok(Answer::ok(&json!(org.faults.script()))),
        ("PUT", ["faults"]) => {
            org.faults = Faults::new(told(request, "a script of faults")?);
            Ok(done())
        }
        ("GET", ["permissions"]) => Ok(Answer::ok(&json!(org.rights))),
        ("PUT", ["permissions"]) => {
            org.permit(told(request, "permissions by object")?);
            Ok(done())
        }
        ("GET", ["clock"]) => Ok(clock(org)),
        ("POST", ["clock"]) => {
            let body = request.json()?;
            if let Some(stop) = body.get("stop").and_then(Value::as_bool) {
                org.clock.stop(stop);
            }
            if let Some(seconds) = body.get("advance_seconds").and_then(Value::as_i64) {
                org.clock.advance(seconds.saturating_mul(1000));
            }
            Ok(clock(org))
        }
        ("PUT", ["triggers"]) => {
            org.triggers = told(request, "a list of triggers")?;
            Ok(done())
        }
        ("PUT", ["keepalive"]) => {
            let ms = request.json()?.get("ms").and_then(Value::as_u64).filter(|ms| *ms > 0);
            let wrong = || Refusal::new("JSON_PARSER_ERROR", "{\"ms\": N}: milliseconds of real time, at least 1");
            org.bus.keepalive_ms = ms.ok_or_else(wrong)?;
            Ok(done())
        }
        ("POST", ["sessions", "expire"]) => {
            org.sessions.expire();
            Ok(done())
        }
        ("POST", ["sessions", "rotate"]) => {
            org.sessions.rotates = true;
            Ok(done())
        }
        ("POST", ["deletes", "purge"]) => {
            org.purge_deletes();
            Ok(done())
        }
        ("POST", ["records", object]) => {
            let input = request.json()?;
            edit(org, |writer| writer.create(object_named(writer.schema, object)?, &input))
        }
        ("PATCH", ["records", object, id]) => {
            let input = request.json()?;
            edit(org, |writer| writer.update(object_named(writer.schema, object)?, id, &input))
        }
        ("DELETE", ["records", object, id]) => {
            let hard = request.parameter("hard") == Some("true");
            edit(org, |writer| writer.delete(object_named(writer.schema, object)?, id, hard))
        }
        ("POST", ["records", object, id, "undelete"]) => {
            edit(org, |writer| writer.undelete(object_named(writer.schema, object)?, id))
        }
        _ => Err(Refusal::not_found()),
    }
}

/// The body of a request, which is to be `what`.
fn told<T: DeserializeOwned>(request: &Request, what: &str) -> Result<T, Refusal> {
    let wrong =
        |error: serde_json::Error| Refusal::new("JSON_PARSER_ERROR", format!("The body is not {what}: {error}"));
    serde_json::from_slice(&request.body).map_err(wrong)
}

fn done() -> Answer {
    Answer::empty(StatusCode::NO_CONTENT)
}

fn clock(org: &Org) -> Answer {
    Answer::ok(&json!({"now": datetime(org.clock.now_ms())}))
}

/// An edit by the person, which no fault strikes.
fn edit(
    org: &mut Org,
    work: impl FnOnce(&mut super::write::Writer<'_>) -> Result<String, Refusal>,
) -> Result<Answer, Refusal> {
    let id = org.write(Within::default(), true, work)?;
    Ok(Answer::ok(&json!({"id": id})))
}
