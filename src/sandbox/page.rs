//! The page for people: the records of an object, and a form for each. What is changed here is changed by another user than the API's.

use std::fmt::Write as _;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::clock::datetime;
use super::describe::{ID, Kind, LAST_MODIFIED_DATE, Object};
use super::exchange::{Answer, Refusal, Request};
use super::org::{Org, Within, object_named};
use super::store::{Row, at, is_deleted};
use super::values::{from_text, to_text};

/// Records on one page.
const SHOWN: usize = 200;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem;max-width:75rem;color:#1b1f24}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #ddd}th{color:#57606a;font-weight:600}a{color:#0b5cad}\
nav a{margin-right:1rem}label{display:grid;grid-template-columns:16rem 1fr;margin:.3rem 0}input{font:inherit;padding:.25rem}\
.gone{color:#999;text-decoration:line-through}.error{color:#b00020}button{font:inherit;padding:.4rem 1rem;margin-right:.5rem}";

/// Everything that is not the API's.
pub(super) fn answer(org: &mut Org, request: &Request, parts: &[&str]) -> Answer {
    let answered = match (request.method.as_str(), parts) {
        ("GET", []) => list(org, request, "Account"),
        ("GET", ["records", object]) => list(org, request, object),
        ("GET", ["records", object, "new"]) => form(org, object, None, ""),
        ("GET", ["records", object, id]) => form(org, object, Some(id), ""),
        ("POST", ["records", object, "new"]) => save(org, request, object, None),
        ("POST", ["records", object, id]) => save(org, request, object, Some(id)),
        _ => Err(Refusal::not_found()),
    };
    answered.unwrap_or_else(|refusal| {
        html(StatusCode::NOT_FOUND, "Not found", &format!("<p>{}</p>", escape(&refusal.message)))
    })
}

fn html(status: StatusCode, title: &str, body: &str) -> Answer {
    let title = escape(title);
    let page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title} · tidelock sandbox</title>\
         <style>{STYLE}</style><h1>{title}</h1><nav><a href=/records/Account>Account</a><a href=/records/Contact>Contact</a>\
         <a href=/records/User>User</a><a href=/sandbox/journal>Journal</a></nav>{body}</html>"
    );
    // Nothing of a record may become a script.
    Answer::text(status, "text/html;charset=UTF-8", page)
        .with("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'".to_owned())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// The fields of the list.
fn shown(object: &Object) -> Vec<usize> {
    let wanted = ["Name", "Industry", "AnnualRevenue", "Email", "Phone", "LastModifiedDate"];
    wanted.iter().filter_map(|name| Some(object.field(name)?.0)).collect()
}

fn list(org: &Org, request: &Request, name: &str) -> Result<Answer, Refusal> {
    let object = object_named(&org.schema, name)?;
    let wanted = request.parameter("q").unwrap_or_default();
    let folded = wanted.to_lowercase();
    let matches = |row: &Row| row.iter().any(|value| to_text(value).to_lowercase().contains(&folded));
    let mut rows: Vec<&Row> = org.store.rows(object).map(|(_, row)| row).filter(|row| matches(row)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(to_text(at(row, LAST_MODIFIED_DATE))));
    let places = shown(object);
    let mut body = format!(
        "<p>{} records; it is {} here.</p><form><input name=q value=\"{}\" placeholder=Search> <button>Search</button>",
        rows.len(),
        datetime(org.clock.now_ms()),
        escape(wanted)
    );
    if object.writable {
        _ = write!(body, "<a href=/records/{name}/new>New</a>");
    }
    body.push_str("</form><table><tr>");
    for field in places.iter().filter_map(|place| object.fields().get(*place)) {
        _ = write!(body, "<th>{}</th>", escape(&field.label));
    }
    for row in rows.iter().take(SHOWN) {
        let class = if is_deleted(row) { "gone" } else { "" };
        _ = write!(body, "<tr class='{class}'>");
        for (number, place) in places.iter().enumerate() {
            let text = escape(&to_text(at(row, *place)));
            let id = to_text(at(row, ID));
            _ = if number == 0 {
                write!(body, "<td><a href=/records/{}/{id}>{text}</a></td>", object.name)
            } else {
                write!(body, "<td>{text}</td>")
            };
        }
    }
    body.push_str("</table>");
    Ok(html(StatusCode::OK, &object.plural, &body))
}

fn form(org: &Org, name: &str, id: Option<&str>, error: &str) -> Result<Answer, Refusal> {
    let object = object_named(&org.schema, name)?;
    let row = id.map(|id| org.store.row(object, id).ok_or_else(Refusal::not_found)).transpose()?;
    let empty = Row::new();
    let values = row.unwrap_or(&empty);
    let mut body = format!("<p class=error>{}</p><form method=post>", escape(error));
    for (place, field) in object.fields().iter().enumerate().filter(|(_, field)| field.kind != Kind::Address) {
        let writable = object.writable && if row.is_some() { field.updateable } else { field.createable };
        let lock = if writable { "" } else { " disabled" };
        let (label, value) = (escape(&field.label), escape(&to_text(at(values, place))));
        _ = write!(body, "<label>{label}<input name={} value=\"{value}\"{lock}></label>", field.name);
    }
    let deleted = row.is_some_and(is_deleted);
    for (action, text, there) in [
        ("save", "Save", object.writable && !deleted),
        ("delete", "Delete", object.writable && row.is_some() && !deleted),
        ("undelete", "Take out of the recycle bin", deleted),
    ] {
        if there {
            _ = write!(body, "<button name=action value={action}>{text}</button>");
        }
    }
    body.push_str("</form>");
    let status = if error.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok(html(status, &id.map_or_else(|| format!("New {}", object.name), |id| format!("{} {id}", object.name)), &body))
}

fn save(org: &mut Org, request: &Request, name: &str, id: Option<&str>) -> Result<Answer, Refusal> {
    let sent = request.form();
    let object = object_named(&org.schema, name)?;
    let before = id.map(|id| org.store.row(object, id).ok_or_else(Refusal::not_found)).transpose()?;
    let mut input = Map::new();
    for (place, field) in object.fields().iter().enumerate() {
        let Some((_, text)) = sent.iter().find(|(key, _)| *key == field.name) else { continue };
        // What was not touched is not written.
        let old = before.map_or_else(String::new, |row| to_text(at(row, place)));
        if *text != old {
            input.insert(field.name.clone(), if text.is_empty() { Value::Null } else { from_text(field, text) });
        }
    }
    let action = super::exchange::find(&sent, "action").unwrap_or_default();
    let done = org.write(Within::default(), true, |writer| {
        let object = object_named(writer.schema, name)?;
        match (action, id) {
            ("delete", Some(id)) => writer.delete(object, id, false),
            ("undelete", Some(id)) => writer.undelete(object, id),
            (_, Some(id)) => writer.update(object, id, &input),
            (_, None) => writer.create(object, &input),
        }
    });
    match done {
        Ok(id) => Ok(Answer::empty(StatusCode::SEE_OTHER).with("location", format!("/records/{name}/{id}"))),
        Err(refusal) => form(org, name, id, &format!("{}: {}", refusal.code, refusal.message)),
    }
}
