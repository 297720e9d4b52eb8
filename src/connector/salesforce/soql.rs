//! SOQL and addresses (layer 4). Names come from `describe` only; values are quoted here and nowhere else.

use crate::value::{Kind, Value};

/// The longest query, as it stands in an address: servers take 16,384 bytes of it.
pub(super) const QUERY_BYTES_MAX: usize = 12_000;

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            for digit in [byte >> 4, byte & 15] {
                encoded.push(char::from_digit(digit.into(), 16).map_or('0', |digit| digit.to_ascii_uppercase()));
            }
            let at = encoded.len() - 2;
            encoded.insert(at, '%');
        }
    }
    encoded
}

/// A text as a literal: `'` and `\` are escaped, and so are line ends.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for letter in text.chars() {
        match letter {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// A value as a literal; `None` for what no query can name.
pub(super) fn literal(value: &Value) -> Option<String> {
    let text = value.to_text()?;
    match value.kind() {
        Kind::Text => Some(quoted(&text)),
        Kind::Boolean | Kind::Int | Kind::Date => Some(text),
        Kind::Decimal => text.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)).then_some(text),
        // Milliseconds are all that is kept.
        Kind::Instant => Some(text),
        Kind::Time => Some(format!("{text}Z")),
        Kind::Null | Kind::Float | Kind::Bytes | Kind::Local | Kind::Json | Kind::Uuid => None,
    }
}

/// A point in time, microseconds since 1970, as a literal.
pub(super) fn instant(micros: i64) -> String {
    Value::Instant(micros).to_text().unwrap_or_default()
}

/// Cuts a list into parts whose literals fit into one query.
pub(super) fn fitting(literals: &[String]) -> Vec<&[String]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, literal) in literals.iter().enumerate() {
        let more = encoded(literal).len() + 3;
        if bytes + more > QUERY_BYTES_MAX && place > start {
            parts.extend(literals.get(start..place));
            (start, bytes) = (place, 0);
        }
        bytes += more;
    }
    parts.extend(literals.get(start..).filter(|rest| !rest.is_empty()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_literal() {
        assert_eq!(quoted("O'Neil \\ Co\n"), "'O\\'Neil \\\\ Co\\n'");
        assert_eq!(literal(&Value::Text("' OR Name != '".to_owned())).unwrap(), "'\\' OR Name != \\''");
        assert_eq!(literal(&Value::Decimal("1 OR 1=1".to_owned())), None);
        assert_eq!(literal(&Value::Null), None);
    }

    #[test]
    fn addresses_carry_everything() {
        assert_eq!(encoded("a b+c'é%"), "a%20b%2Bc%27%C3%A9%25");
    }

    #[test]
    fn lists_are_cut_where_they_no_longer_fit() {
        let literals: Vec<String> = (0..1000).map(|number| format!("'{number:0>30}'")).collect();
        let parts = fitting(&literals);
        assert!(parts.len() > 1);
        assert_eq!(parts.concat(), literals);
        assert!(fitting(&[]).is_empty());
        assert_eq!(fitting(&["x".repeat(QUERY_BYTES_MAX * 2)]).len(), 1, "one that fits nowhere is tried all the same");
    }
}
