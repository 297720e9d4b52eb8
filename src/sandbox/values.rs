//! What a field takes, and what is kept of it: text is trimmed, an empty one is null, numbers are rounded to their scale, ids become 18 characters.

use serde_json::{Number, Value};

use super::clock::{datetime, parse_datetime};
use super::describe::{Field, Kind};
use super::exchange::Refusal;
use super::ids;

/// The value as it is kept.
///
/// # Errors
/// Where the field does not take it.
pub(super) fn accept(field: &Field, value: &Value) -> Result<Value, Refusal> {
    let wrong = || {
        let message = format!("{}: value not of required type: {value}", field.label);
        Refusal::field("INVALID_TYPE_ON_FIELD_IN_RECORD", &field.name, message)
    };
    if field.kind == Kind::Boolean {
        return if value.is_boolean() { Ok(value.clone()) } else { Err(wrong()) };
    }
    if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Ok(Value::Null);
    }
    if field.kind.is_number() {
        return number(field, value.as_number().ok_or_else(wrong)?);
    }
    let text = value.as_str().ok_or_else(wrong)?.trim();
    match field.kind {
        Kind::Id | Kind::Reference => {
            let refusal = || {
                Refusal::field(
                    "MALFORMED_ID",
                    &field.name,
                    format!("{}: id value of incorrect type: {text}", field.label),
                )
            };
            ids::normalize(text).map(Value::String).ok_or_else(refusal)
        }
        Kind::Date => date(text).map(Value::String).ok_or_else(wrong),
        Kind::Datetime => parse_datetime(text).map(|ms| Value::String(datetime(ms))).ok_or_else(wrong),
        Kind::Email if !is_email(text) => Err(Refusal::field(
            "INVALID_EMAIL_ADDRESS",
            &field.name,
            format!("{}: invalid email address: {text}", field.label),
        )),
        Kind::Picklist => picklist(field, text, &[text]).map(|()| Value::String(text.to_owned())),
        Kind::Multipicklist => multipicklist(field, text),
        Kind::String | Kind::Textarea | Kind::Email | Kind::Phone | Kind::Url => fitting(field, text),
        Kind::Boolean | Kind::Int | Kind::Double | Kind::Currency | Kind::Address => Err(wrong()),
    }
}

fn fitting(field: &Field, text: &str) -> Result<Value, Refusal> {
    if text.chars().count() > field.length {
        let message = format!("{}: data value too large: {text} (max length={})", field.label, field.length);
        return Err(Refusal::field("STRING_TOO_LONG", &field.name, message));
    }
    Ok(Value::String(text.to_owned()))
}

fn picklist(field: &Field, whole: &str, chosen: &[&str]) -> Result<(), Refusal> {
    let unknown = chosen.iter().any(|value| !field.picklist.iter().any(|known| known == value));
    if field.restricted && unknown {
        let message = format!("{}: bad value for restricted picklist field: {whole}", field.label);
        return Err(Refusal::field("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", &field.name, message));
    }
    fitting(field, whole).map(drop)
}

/// Kept in the order of the picklist, each value once.
fn multipicklist(field: &Field, text: &str) -> Result<Value, Refusal> {
    let mut chosen: Vec<&str> = text.split(';').map(str::trim).filter(|value| !value.is_empty()).collect();
    picklist(field, text, &chosen)?;
    chosen.sort_by_key(|value| field.picklist.iter().position(|known| known == value));
    chosen.dedup();
    Ok(if chosen.is_empty() { Value::Null } else { Value::String(chosen.join(";")) })
}

/// Rounds half up to the scale, by the digits that were sent: 1.005 becomes 1.01 although no double is exactly that.
fn number(field: &Field, number: &Number) -> Result<Value, Refusal> {
    let (whole_max, scale) = field.digits;
    let value = number.as_f64().unwrap_or(f64::INFINITY);
    let rounded = round(&plain(value), scale);
    let whole = rounded.trim_start_matches('-').split('.').next().unwrap_or_default().trim_start_matches('0').len();
    if !value.is_finite() || whole > whole_max {
        let message = format!("{}: value outside of valid range on numeric field: {number}", field.label);
        return Err(Refusal::field("NUMBER_OUTSIDE_VALID_RANGE", &field.name, message));
    }
    if field.kind == Kind::Int {
        if value.fract() != 0.0 {
            let message = format!("{}: value not of required type: {number}", field.label);
            return Err(Refusal::field("INVALID_TYPE_ON_FIELD_IN_RECORD", &field.name, message));
        }
        return Ok(rounded.parse::<i64>().map_or(Value::Null, |integer| Value::Number(integer.into())));
    }
    Ok(rounded.parse::<f64>().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number))
}

/// Without exponent, and with the fewest digits that are this double.
fn plain(value: f64) -> String {
    format!("{value}")
}

fn round(text: &str, scale: usize) -> String {
    let Some((whole, fraction)) = text.split_once('.') else { return text.to_owned() };
    if fraction.len() <= scale {
        return text.to_owned();
    }
    let up = fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5');
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes().take(scale)).collect();
    let mut carry = up;
    for digit in digits.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    if carry {
        digits.insert(0, b'1');
    }
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{}{point}{}", String::from_utf8_lossy(whole), String::from_utf8_lossy(fraction))
}

/// A date; what follows a `T` is left out, as Salesforce does.
pub(super) fn date(text: &str) -> Option<String> {
    let day: jiff::civil::Date = text.split('T').next()?.parse().ok()?;
    (1700..=4000).contains(&day.year()).then(|| day.to_string())
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|letter: char| letter.is_whitespace() || "@,;<>".contains(letter))
    };
    plain(local) && plain(domain) && domain.split('.').all(|label| !label.is_empty()) && domain.contains('.')
}

/// What a cell of a CSV file means to a field, for [`accept`].
pub(super) fn from_text(field: &Field, text: &str) -> Value {
    let trimmed = text.trim();
    if field.kind.is_number() {
        return match (trimmed.parse::<i64>(), trimmed.parse::<f64>()) {
            (Ok(integer), _) => Value::Number(integer.into()),
            (_, Ok(float)) => Number::from_f64(float).map_or_else(|| Value::String(text.to_owned()), Value::Number),
            _ => Value::String(text.to_owned()),
        };
    }
    if field.kind == Kind::Boolean {
        match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" => return Value::Bool(true),
            "false" | "0" => return Value::Bool(false),
            _ => {}
        }
    }
    Value::String(text.to_owned())
}

/// A value as a cell of a CSV file.
pub(super) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::standard;
    use super::*;

    fn kept(name: &str, value: Value) -> Result<Value, &'static str> {
        let schema = standard::schema();
        let (_, field) = schema.object("Account").unwrap().field(name).unwrap();
        accept(field, &value).map_err(|refusal| refusal.code)
    }

    #[test]
    fn values_are_kept_as_salesforce_keeps_them() {
        for (field, sent, stored) in [
            ("Name", json!("  Acme "), json!("Acme")),
            ("Name", json!("   "), Value::Null),
            ("Phone", json!(""), Value::Null),
            ("AnnualRevenue", json!(1_250_000.5), json!(1_250_001.0)),
            ("Balance__c", json!(1.005), json!(1.01)),
            ("Balance__c", json!(-9.995), json!(-10.0)),
            ("Balance__c", json!(1e3), json!(1000.0)),
            ("NumberOfEmployees", json!(12), json!(12)),
            ("Regions__c", json!("West; North;West"), json!("North;West")),
            ("Renewal__c", json!("2026-02-28T00:00:00Z"), json!("2026-02-28")),
            ("Last_Call__c", json!("2026-02-28T01:00:00+01:00"), json!("2026-02-28T00:00:00.000+0000")),
            ("ParentId", json!("001D000000IRt53"), json!("001D000000IRt53IAD")),
            ("Industry", json!("Of my own"), json!("Of my own")),
            ("Active__c", json!(true), json!(true)),
        ] {
            assert_eq!(kept(field, sent.clone()), Ok(stored), "{field} {sent}");
        }
    }

    #[test]
    fn what_a_field_does_not_take_has_its_code() {
        for (field, sent, code) in [
            ("Name", json!("x".repeat(256)), "STRING_TOO_LONG"),
            ("Name", json!(5), "INVALID_TYPE_ON_FIELD_IN_RECORD"),
            ("AnnualRevenue", json!("a lot"), "INVALID_TYPE_ON_FIELD_IN_RECORD"),
            ("AnnualRevenue", json!(1e18), "NUMBER_OUTSIDE_VALID_RANGE"),
            ("NumberOfEmployees", json!(1.5), "INVALID_TYPE_ON_FIELD_IN_RECORD"),
            ("Tier__c", json!("Platinum"), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
            ("Regions__c", json!("North;Up"), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
            ("Renewal__c", json!("31.12.2026"), "INVALID_TYPE_ON_FIELD_IN_RECORD"),
            ("Last_Call__c", json!("2026-02-28"), "INVALID_TYPE_ON_FIELD_IN_RECORD"),
            ("ParentId", json!("nonsense"), "MALFORMED_ID"),
            ("Active__c", Value::Null, "INVALID_TYPE_ON_FIELD_IN_RECORD"),
        ] {
            assert_eq!(kept(field, sent.clone()), Err(code), "{field} {sent}");
        }
        assert!(is_email("a.b+c@example.co.uk"));
        for wrong in ["a", "a@b", "@b.c", "a@b..c", "a b@c.d", "a@b.c, d@e.f"] {
            assert!(!is_email(wrong), "{wrong}");
        }
    }
}
