//! Decimals as text: one canonical form, and comparison by number without arithmetic or `f64`.

use std::cmp::Ordering;

/// No decimal is expanded to more digits than this (PostgreSQL's `numeric` ends at 131,072 before and 16,383 after the point).
const DIGITS_MAX: i64 = 150_000;

/// A finite decimal as digits: sign, digits before and after the point without superfluous zeros.
struct Parts {
    negative: bool,
    whole: String,
    fraction: String,
}

/// The one text of a decimal number: no exponent, no superfluous zeros, no `+`, `0` for every zero. `NaN`, `Infinity` and
/// `-Infinity` stay; text that is no decimal stays as it is.
pub fn canonical_decimal(text: &str) -> String {
    if is_canonical(text.as_bytes()) {
        return text.to_owned();
    }
    match parse(text) {
        Some(parts) => {
            let sign = if parts.negative { "-" } else { "" };
            let point = if parts.fraction.is_empty() { "" } else { "." };
            format!("{sign}{}{point}{}", parts.whole, parts.fraction)
        }
        None => special(text).map_or_else(|| text.to_owned(), str::to_owned),
    }
}

/// Whether finite digits are in canonical form as they are, which most are.
fn is_canonical(text: &[u8]) -> bool {
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let mut parts = text.strip_prefix(b"-").unwrap_or(text).splitn(2, |byte| *byte == b'.');
    let whole = match parts.next() {
        Some([first, rest @ ..]) => first.is_ascii_digit() && digits(rest) && (*first != b'0' || rest.is_empty()),
        Some([]) | None => false,
    };
    let fraction = match parts.next() {
        Some([rest @ .., last]) => (b'1'..=b'9').contains(last) && digits(rest),
        Some([]) => false,
        None => true,
    };
    whole && fraction && text != b"-0"
}

/// Whether the text is a decimal number, an exponent allowed, or `NaN` or an infinity.
pub(super) fn is_decimal(text: &str) -> bool {
    special(text).is_some() || parse(text).is_some()
}

fn special(text: &str) -> Option<&'static str> {
    let (negative, name) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    match name.to_ascii_lowercase().as_str() {
        "nan" => Some("NaN"),
        "infinity" | "inf" if negative => Some("-Infinity"),
        "infinity" | "inf" => Some("Infinity"),
        _ => None,
    }
}

fn parse(text: &str) -> Option<Parts> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (whole, fraction) = shift(whole, fraction, exponent)?;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0').to_owned();
    let zero = whole.is_empty() && fraction.is_empty();
    Some(Parts { negative: negative && !zero, whole: if whole.is_empty() { "0" } else { whole }.to_owned(), fraction })
}

/// Moves the point right by `exponent` digits (left where it is negative).
fn shift(whole: &str, fraction: &str, exponent: i64) -> Option<(String, String)> {
    if exponent == 0 {
        return Some((whole.to_owned(), fraction.to_owned()));
    }
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    if point.abs() > DIGITS_MAX {
        return None;
    }
    if point <= 0 {
        let zeros = usize::try_from(-point).ok()?;
        return Some((String::new(), format!("{}{digits}", "0".repeat(zeros))));
    }
    let point = usize::try_from(point).ok()?;
    if point >= digits.len() {
        let zeros = point - digits.len();
        return Some((format!("{digits}{}", "0".repeat(zeros)), String::new()));
    }
    let (whole, fraction) = digits.split_at(point);
    Some((whole.to_owned(), fraction.to_owned()))
}

/// Compares by number; what is no number sorts after all numbers, by text, and NaN after infinity (as in PostgreSQL).
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => match (a.negative, b.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => magnitude(&a, &b),
            (true, true) => magnitude(&b, &a),
        },
        _ => rank(a).cmp(&rank(b)).then_with(|| canonical_decimal(a).cmp(&canonical_decimal(b))),
    }
}

fn magnitude(a: &Parts, b: &Parts) -> Ordering {
    a.whole.len().cmp(&b.whole.len()).then_with(|| a.whole.cmp(&b.whole)).then_with(|| a.fraction.cmp(&b.fraction))
}

fn rank(text: &str) -> u8 {
    match special(text) {
        Some("-Infinity") => 0,
        Some("Infinity") => 2,
        Some(_) => 3,
        None if parse(text).is_some() => 1,
        None => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_per_number() {
        for (text, canonical) in [
            ("0012.3400", "12.34"),
            ("+.5", "0.5"),
            ("-0.00", "0"),
            ("1.5E-3", "0.0015"),
            ("12e3", "12000"),
            ("1.25e1", "12.5"),
            ("NAN", "NaN"),
            ("-inf", "-Infinity"),
            ("abc", "abc"),
            ("12.34", "12.34"),
            ("-0.5", "-0.5"),
            ("0", "0"),
            ("-0", "0"),
            ("00", "0"),
            ("1.", "1"),
            (".", "."),
            ("-", "-"),
        ] {
            assert_eq!(canonical_decimal(text), canonical, "{text}");
        }
    }

    #[test]
    fn numbers_compare_by_value_beyond_f64() {
        assert_eq!(compare("1.50", "1.5"), Ordering::Equal);
        assert_eq!(compare("12345678901234567890.1", "12345678901234567890.2"), Ordering::Less);
        assert_eq!(compare("-2", "1"), Ordering::Less);
        assert_eq!(compare("-2", "-10"), Ordering::Greater);
        assert_eq!(compare("0.05", "0.5"), Ordering::Less);
        assert_eq!(compare("Infinity", "9"), Ordering::Greater);
        assert_eq!(compare("-Infinity", "-9"), Ordering::Less);
    }

    #[test]
    fn a_huge_exponent_is_refused_not_expanded() {
        assert!(!is_decimal("1e999999999"));
        assert!(!is_decimal("--1"));
        assert!(!is_decimal(""));
    }
}
