//! Numbers as people write them. No digit passes through floating point.
//!
//! `sign? currency? digits-with-separators (point digits)? exponent? currency? sign?`, or all of it in parentheses, which is a minus.
//! Separators must stand where thousands are: one character throughout, three digits behind the last, two or three between
//! them (as in India). So `1,5`, which means one and a half to half of the world, is an error and not fifteen.

/// No exponent makes a number longer than this.
const EXPONENT_MAX: i32 = 400;

/// Whether there is no value in a text at all.
pub fn blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The canonical decimal of a text, `point` before the decimals, `other` possibly between thousands.
pub fn read(text: &str, point: char, other: char) -> Option<String> {
    let text = text.trim();
    let inner = text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let (mut negative, mut rest) = (inner.is_some(), inner.unwrap_or(text).trim());
    let mut signs = usize::from(negative);
    let mut currencies = 0;
    // Sign and currency in either order, on either side.
    loop {
        let before = rest;
        if let Some((minus, bare)) = strip_sign(rest) {
            signs += 1;
            negative |= minus;
            rest = bare.trim();
        }
        if let Some(bare) = strip_currency(rest) {
            currencies += 1;
            rest = bare.trim();
        }
        if rest == before {
            break;
        }
    }
    if signs > 1 || currencies > 1 {
        return None;
    }
    let plain = without_separators(rest, point, other)?;
    let decimal = Decimal::read(&plain, point)?;
    Some(Decimal { negative: negative || decimal.negative, ..decimal }.canonical())
}

fn strip_sign(text: &str) -> Option<(bool, &str)> {
    const SIGNS: [(char, bool); 5] =
        [('-', true), ('\u{2212}', true), ('\u{fe63}', true), ('\u{ff0d}', true), ('+', false)];
    SIGNS.iter().find_map(|&(sign, minus)| Some((minus, text.strip_prefix(sign).or_else(|| text.strip_suffix(sign))?)))
}

/// A currency's sign, or its code of three capitals.
fn strip_currency(text: &str) -> Option<&str> {
    let sign = |c: char| matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{58f}' | '\u{60b}' | '\u{9f2}' | '\u{9f3}' | '\u{e3f}' | '\u{17db}' | '\u{20a0}'..='\u{20cf}' | '\u{fdfc}' | '\u{ff04}' | '\u{ffe0}' | '\u{ffe1}' | '\u{ffe5}' | '\u{ffe6}');
    let code = |code: &&str| code.bytes().all(|byte| byte.is_ascii_uppercase());
    let codes = || {
        if text.get(..3).filter(code).is_some() {
            return text.get(3..);
        }
        let start = text.len().checked_sub(3)?;
        text.get(start..).filter(code).and_then(|_| text.get(..start))
    };
    text.strip_prefix(sign).or_else(|| text.strip_suffix(sign)).or_else(codes)
}

/// ASCII digits, the point and the exponent: what is left when the separators are gone.
fn without_separators(text: &str, point: char, other: char) -> Option<String> {
    let (whole, fraction) =
        text.split_once(point).map_or((text, ""), |(whole, _)| (whole, text.get(whole.len()..).unwrap_or("")));
    let is_separator = |c: char| c == other || matches!(c, '\'' | '’' | '_') || c.is_whitespace();
    let separator = whole.chars().find(|&c| is_separator(c));
    let mut plain = String::with_capacity(text.len());
    match separator {
        Some(separator) => {
            let groups: Vec<&str> = whole.split(separator).collect();
            let (first, later) = groups.split_first()?;
            let (last, middle) = later.split_last()?;
            let digits = |group: &str| group.chars().count();
            let sound = (1..=3).contains(&digits(first))
                && digits(last) == 3
                && middle.iter().all(|g| (2..=3).contains(&digits(g)));
            if !sound {
                return None;
            }
            groups.iter().for_each(|group| plain.push_str(group));
        }
        None => plain.push_str(whole),
    }
    plain.push_str(fraction);
    plain.chars().map(|c| digit(c).or_else(|| (c.is_ascii() && !is_separator(c)).then_some(c))).collect()
}

/// The ASCII digit of a digit in another script: full width, Arabic, Persian, Devanagari, Bengali, Thai.
fn digit(character: char) -> Option<char> {
    const ZEROS: [char; 6] = ['\u{ff10}', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}'];
    let value =
        ZEROS.iter().find_map(|&zero| (character as u32).checked_sub(zero as u32).filter(|value| *value < 10))?;
    char::from_digit(value, 10)
}

/// A finite decimal as it was written.
pub struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i32,
}

impl<'a> Decimal<'a> {
    /// `-?digits(point digits)?([eE][+-]?digits)?`, with a digit on one side of the point at least.
    pub fn read(text: &'a str, point: char) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= EXPONENT_MAX)?;
        let (whole, fraction) = match mantissa.split_once(point) {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let sound = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
        sound.then_some(Self { negative, whole, fraction, exponent })
    }

    /// Without exponent and superfluous zeros.
    pub fn canonical(self) -> String {
        let mut whole = self.whole.to_owned();
        let mut fraction = self.fraction.to_owned();
        for _ in 0..self.exponent {
            whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
        }
        for _ in self.exponent..0 {
            fraction.insert(0, whole.pop().unwrap_or('0'));
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        let sign = if self.negative && !zero { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(text: &str) -> Option<String> {
        read(text, '.', ',')
    }

    #[test]
    fn numbers_as_people_write_them() {
        for (text, expected) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007", "7"),
            (".5", "0.5"),
            ("1,234,567.890", "1234567.89"),
            ("1\u{202f}234\u{202f}567", "1234567"),
            ("1\u{a0}234", "1234"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("5-", "-5"),
            ("\u{2212}5", "-5"),
            ("-$5", "-5"),
            ("$-5", "-5"),
            ("($5.00)", "-5"),
            ("USD 5", "5"),
            ("5EUR", "5"),
            ("€5", "5"),
            ("5 ₹", "5"),
            ("1.5e3", "1500"),
            ("1.5E-3", "0.0015"),
            ("1e+2", "100"),
            ("１２３", "123"),
            ("٣٤", "34"),
        ] {
            assert_eq!(point(text).as_deref(), Some(expected), "{text}");
            assert_eq!(point(expected).as_deref(), Some(expected), "{text}");
        }
        for (text, expected) in
            [("1.234,5", "1234.5"), ("0,5", "0.5"), ("1'234,50 Fr.", ""), ("1 234,5 €", "1234.5"), ("1.234", "1234")]
        {
            assert_eq!(read(text, ',', '.').unwrap_or_default(), expected, "{text}");
        }
    }

    #[test]
    fn what_may_mean_something_else_is_no_number() {
        for text in [
            "",
            "-",
            "$",
            "1,5",
            "1,23",
            "1,2345",
            "1234,567",
            ",123",
            "1,,234",
            "1,234,",
            "1 2",
            "1,234 567",
            "1.2.3",
            "1.",
            ".",
            "e5",
            "1e",
            "1e999999999",
            "1e401",
            "--5",
            "-5-",
            "$5$",
            "$€5",
            "(-5)",
            "12%",
            "5 kg",
            "0x10",
            "NaN",
            "Infinity",
            "1/2",
            "五",
            "1.234,567",
            "5 usd",
            "USDEUR 5",
            "1.5.5",
            "1e5e5",
            "1\u{200b}2",
        ] {
            assert_eq!(point(text), None, "{text}");
        }
    }

    #[test]
    fn no_digit_is_lost() {
        let long = "9".repeat(5_000);
        assert_eq!(point(&format!("{long}.{long}")), Some(format!("{long}.{long}")));
    }
}
