//! What a test tells the sandbox beside the API: its clock, its faults, its journal, and edits that somebody else makes.

use axum::http::StatusCode;
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
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("GET", ["faults"]) => Ok(Answer::ok(&json!(org.faults.script()))),
        ("PUT", ["faults"]) => {
            let wrong = |error: serde_json::Error| {
                Refusal::new("JSON_PARSER_ERROR", format!("This is no script of faults: {error}"))
            };
            org.faults = Faults::new(serde_json::from_slice(&request.body).map_err(wrong)?);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("GET", ["permissions"]) => Ok(Answer::ok(&json!(org.rights))),
        ("PUT", ["permissions"]) => {
            let wrong = |error: serde_json::Error| {
                Refusal::new("JSON_PARSER_ERROR", format!("These are no permissions by object: {error}"))
            };
            org.permit(serde_json::from_slice(&request.body).map_err(wrong)?);
            Ok(Answer::empty(StatusCode::NO_CONTENT))
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
            let wrong = |error: serde_json::Error| {
                Refusal::new("JSON_PARSER_ERROR", format!("This is no list of triggers: {error}"))
            };
            org.triggers = serde_json::from_slice(&request.body).map_err(wrong)?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("PUT", ["keepalive"]) => {
            let ms = request.json()?.get("ms").and_then(Value::as_u64).filter(|ms| *ms > 0);
            let wrong = || Refusal::new("JSON_PARSER_ERROR", "{\"ms\": N}: milliseconds of real time, at least 1");
            org.bus.keepalive_ms = ms.ok_or_else(wrong)?;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["sessions", "expire"]) => {
            org.sessions.expire();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["sessions", "rotate"]) => {
            org.sessions.rotates = true;
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        ("POST", ["deletes", "purge"]) => {
            org.purge_deletes();
            Ok(Answer::empty(StatusCode::NO_CONTENT))
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
