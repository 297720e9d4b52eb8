//! Values that laws are tried on: edge cases first, then what the plugin's own examples show and variations of it, then pseudo-random
//! ones, the same at every load; and how a value is made smaller.

use crate::plugin::bindings::Example;
use crate::plugin::json;
use crate::value::{Kind, Value, canonical_decimal};

/// Every kind but null.
pub(super) const KINDS: [Kind; 12] = [
    Kind::Text,
    Kind::Boolean,
    Kind::Int,
    Kind::Float,
    Kind::Decimal,
    Kind::Bytes,
    Kind::Date,
    Kind::Time,
    Kind::Instant,
    Kind::Local,
    Kind::Json,
    Kind::Uuid,
];

/// Pseudo-random values of each kind.
const RANDOM: usize = 60;
/// Examples whose values are varied.
const EXAMPLES_MAX: usize = 24;
/// Longest pseudo-random text.
const TEXT_CHARS_MAX: u64 = 24;
/// Characters of a text that are left out one by one when it is made smaller.
const CHARS_TRIED_MAX: usize = 64;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Years 1 to 9999, in days since 1970-01-01: what every system keeps.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// What transforms of texts stumble over: white space of every sort, letters whose case changes their number, combining marks,
/// invisible characters, U+0000, and texts that look like other kinds.
const TEXTS: &[&str] = &[
    "the quick brown fox jumps over the lazy dog 0123456789",
    "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "",
    " ",
    "a",
    "A",
    "0",
    "aB",
    "a b",
    "  a  b  ",
    "Ab cD",
    "O'BRIEN",
    "mary-ann",
    "McDONALD jr.",
    "\t",
    "\r\n",
    "a\nb",
    "\u{a0}x\u{2003}",
    "\u{200b}x\u{feff}",
    "ß",
    "Straße",
    "ẞ",
    "ﬁn",
    "ŉx",
    "ǆ",
    "ǅ",
    "İ",
    "ı",
    "ΑΣ",
    "ς",
    "é",
    "e\u{301}",
    "\u{301}",
    "ᾳ",
    "ΐ",
    "日本語",
    "👩\u{200d}👩\u{200d}👧",
    "𝒳",
    "\u{1f1e9}\u{1f1ea}",
    "a\0b",
    "\u{202e}abc",
    "\u{fffd}",
    "1",
    "-1",
    "+1",
    "1.50",
    "1,234.50",
    "1.234,50",
    "$ 5",
    "1e3",
    "NaN",
    "+14155552671",
    "(415) 555-2671",
    "2024-02-29",
    "29.2.2024",
    "2024-02-29T23:59:60Z",
    "12:30",
    "x@Example.COM",
    "A.B+c@EXAMPLE.org ",
    "true",
    "null",
    "a,b,,c",
    ";a; b",
    "<b>x</b>",
    "{\"a\": 1}",
    "%41",
    "\\",
    "\"",
    "--",
];

const LETTERS: &[char] = &[
    'a', 'b', 'Z', 'Q', 'i', 'I', '0', '7', '9', ' ', ' ', '\t', '\u{a0}', '.', ',', '-', '_', '@', '+', '/', '\'',
    '(', ')', 'ß', 'İ', 'ŉ', 'ﬁ', 'Σ', 'ς', 'é', '\u{301}', 'Ж', '語', '😀', '\u{200b}',
];

/// Values of one kind. `inputs`: the kinds that the function takes, by which examples are read.
pub(super) fn of_kind(kind: Kind, examples: &[Example], inputs: &[Kind]) -> Vec<Value> {
    let mut values = edges(kind);
    values.extend(from_examples(kind, examples, inputs));
    // The same numbers at every load, so that a verdict never changes by chance.
    let mut random = Random(0x7469_6465_6c6f_636b);
    values.extend((0..RANDOM).map(|_| random.value(kind)));
    values
}

fn edges(kind: Kind) -> Vec<Value> {
    let micros = |days: i32| i64::from(days) * MICROS_PER_DAY;
    let ends = [micros(*DAYS.start()), 0, 1, -1, 1_709_251_199_999_999, micros(*DAYS.end())];
    match kind {
        Kind::Null => Vec::new(),
        Kind::Boolean => vec![Value::Boolean(false), Value::Boolean(true)],
        Kind::Int => {
            let wide = [i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1, i64::from(i32::MAX), i64::from(i32::MIN)];
            [0, 1, -1, 9, 10, 99, 100, -100, 255].into_iter().chain(wide).map(Value::Int).collect()
        }
        // What is not a number, or near the ends, no arithmetic keeps.
        Kind::Float => {
            [0.0, 1.0, -1.0, 0.5, 0.1, 1.5, 2.5, -2.5, 1e-6, 1e9, 123_456.789].into_iter().map(Value::Float).collect()
        }
        Kind::Decimal => ["0", "1", "-1", "0.1", "-0.005", "10", "99.995", "123456789012345678901234567890.123456789"]
            .into_iter()
            .map(|text| Value::Decimal(text.to_owned()))
            .collect(),
        Kind::Text => TEXTS.iter().map(|text| Value::Text((*text).to_owned())).collect(),
        Kind::Bytes => [b"".as_slice(), b"\0", b"\xff", b"abc", b"\xff\xfe\0\x80"]
            .into_iter()
            .map(|bytes| Value::Bytes(bytes.to_vec()))
            .collect(),
        Kind::Date => [*DAYS.start(), -1, 0, 1, 59, 19_782, *DAYS.end()].into_iter().map(Value::Date).collect(),
        Kind::Time => [0, 1, 999_999, 43_200_000_000, MICROS_PER_DAY - 1].into_iter().map(Value::Time).collect(),
        Kind::Instant => ends.into_iter().map(Value::Instant).collect(),
        Kind::Local => ends.into_iter().map(Value::Local).collect(),
        Kind::Json => ["{}", "[]", "0", "\"\"", "true", "1.50", "\"é\"", r#"{"b":[1,{"c":null}],"a":"x"}"#]
            .into_iter()
            .map(|text| Value::Json(text.to_owned()))
            .collect(),
        Kind::Uuid => vec![Value::Uuid([0; 16]), Value::Uuid([0xff; 16])],
    }
}

/// Inputs and outputs of the examples, and, of texts, variations: what a function accepts at all is best known by them.
fn from_examples(kind: Kind, examples: &[Example], inputs: &[Kind]) -> Vec<Value> {
    let texts = examples.iter().take(EXAMPLES_MAX).flat_map(|example| [&example.input, &example.output]);
    let values = texts.filter_map(|text| json::read(text, inputs).ok());
    let values = values.filter(|value| value.kind() == kind);
    values.flat_map(|value| if let Value::Text(text) = &value { variations(text) } else { vec![value] }).collect()
}

fn variations(text: &str) -> Vec<Value> {
    let without_first: String = text.chars().skip(1).collect();
    let without_last: String = text.chars().take(text.chars().count().saturating_sub(1)).collect();
    let varied = [
        text.to_owned(),
        text.to_uppercase(),
        text.to_lowercase(),
        format!(" {text}\t"),
        format!("{text}{text}"),
        format!("{text} {text}"),
        format!("{text}a"),
        format!("1{text}"),
        without_first,
        without_last,
    ];
    varied.into_iter().map(Value::Text).collect()
}

/// SplitMix64: a few lines, and good enough for test values.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Of either sign, small ones as often as large ones.
    fn integer(&mut self) -> i64 {
        let bits = self.below(64);
        self.next().cast_signed() >> bits
    }

    fn within(&mut self, start: i64, end: i64) -> i64 {
        let offset = self.below(end.abs_diff(start).saturating_add(1));
        start.saturating_add_unsigned(offset)
    }

    fn day(&mut self) -> i32 {
        let day = self.within(i64::from(*DAYS.start()), i64::from(*DAYS.end()));
        i32::try_from(day).unwrap_or_default()
    }

    fn micros(&mut self) -> i64 {
        i64::from(self.day()) * MICROS_PER_DAY + self.within(0, MICROS_PER_DAY - 1)
    }

    fn bytes(&mut self) -> [u8; 16] {
        u128::from(self.next()).rotate_left(64).wrapping_add(u128::from(self.next())).to_le_bytes()
    }

    fn text(&mut self) -> String {
        let chars = self.below(TEXT_CHARS_MAX);
        let mut text = String::new();
        for _ in 0..chars {
            let number = self.next();
            let any = char::from_u32(u32::try_from(number >> 43).unwrap_or_default());
            let known = usize::try_from(number).ok().and_then(|number| LETTERS.get(number % LETTERS.len())).copied();
            // One in sixteen is any character at all.
            text.extend(if number >> 60 == 0 { any } else { known });
        }
        text
    }

    fn value(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Boolean(self.below(2) == 0),
            Kind::Int => Value::Int(self.integer()),
            Kind::Float => {
                let thousandths = i32::try_from(self.within(-1_000_000_000, 1_000_000_000)).unwrap_or_default();
                Value::Float(f64::from(thousandths) / 1_000.0)
            }
            Kind::Decimal => {
                let (whole, part) = (self.integer(), self.below(1_000_000));
                Value::Decimal(canonical_decimal(&format!("{whole}.{part}")))
            }
            Kind::Text => Value::Text(self.text()),
            Kind::Bytes => {
                let length = usize::try_from(self.below(16)).unwrap_or_default();
                Value::Bytes(self.bytes().into_iter().take(length).collect())
            }
            Kind::Date => Value::Date(self.day()),
            Kind::Time => Value::Time(self.within(0, MICROS_PER_DAY - 1)),
            Kind::Instant => Value::Instant(self.micros()),
            Kind::Local => Value::Local(self.micros()),
            Kind::Json => Value::Json(format!(r#"{{"k":{},"t":{:?}}}"#, self.integer(), self.below(2) == 0)),
            Kind::Uuid => Value::Uuid(self.bytes()),
        }
    }
}

/// Values that are simpler than this one, the simplest first. Repeated, it comes to an end.
pub(super) fn smaller(value: &Value) -> Vec<Value> {
    let halves =
        |number: i64| [0, number / 2, number - number.signum()].into_iter().filter(move |other| *other != number);
    match value {
        Value::Text(text) => smaller_texts(text).into_iter().map(Value::Text).collect(),
        Value::Decimal(text) => {
            let shorter = smaller_texts(text).into_iter().map(Value::Text);
            shorter.filter_map(|text| text.convert(Kind::Decimal).ok()).filter(|other| other != value).collect()
        }
        Value::Bytes(bytes) => {
            let (left, right) = bytes.split_at(bytes.len() / 2);
            let parts = [left, right].into_iter().filter(|part| part.len() < bytes.len());
            parts.map(|part| Value::Bytes(part.to_vec())).collect()
        }
        Value::Int(number) => halves(*number).map(Value::Int).collect(),
        Value::Time(number) => halves(*number).map(Value::Time).collect(),
        Value::Instant(number) => halves(*number).map(Value::Instant).collect(),
        Value::Local(number) => halves(*number).map(Value::Local).collect(),
        Value::Date(day) => {
            halves(i64::from(*day)).filter_map(|day| i32::try_from(day).ok()).map(Value::Date).collect()
        }
        Value::Float(number) => {
            let simpler = [0.0, number.trunc(), (number / 2.0).trunc()].into_iter().filter(|other| other != number);
            simpler.map(Value::Float).collect()
        }
        Value::Null | Value::Boolean(_) | Value::Json(_) | Value::Uuid(_) => Vec::new(),
    }
}

/// Half of it, one character less, and one character that is plainer.
fn smaller_texts(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (left, right) = chars.split_at(chars.len() / 2);
    let mut smaller: Vec<String> =
        [left, right].into_iter().filter(|part| part.len() < chars.len()).map(|part| part.iter().collect()).collect();
    for index in 0..chars.len().min(CHARS_TRIED_MAX) {
        let without = chars.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, char)| *char);
        smaller.push(without.collect());
    }
    for (index, char) in chars.iter().enumerate().take(CHARS_TRIED_MAX) {
        let plain = plainer(*char);
        if plain != *char {
            let changed = chars.iter().enumerate().map(|(other, char)| if other == index { plain } else { *char });
            smaller.push(changed.collect());
        }
    }
    smaller
}

/// The plainest character of its sort.
fn plainer(char: char) -> char {
    match char {
        ' ' => ' ',
        '0'..='9' => '0',
        'A'..='Z' => 'A',
        _ => 'a',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_kind_are_the_same_each_time_and_stay_in_bounds() {
        for kind in KINDS {
            let values = of_kind(kind, &[], &[kind]);
            assert!(values.len() >= RANDOM && values.iter().all(|value| value.kind() == kind), "{kind:?}");
            assert_eq!(values, of_kind(kind, &[], &[kind]));
            for value in values {
                let text = value.to_text().unwrap();
                assert_eq!(Value::from_text(kind, &text).unwrap(), value, "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn the_values_of_examples_are_varied() {
        let example = Example { params: "{}".into(), input: "\"Xy\"".into(), output: "{\"error\":\"no\"}".into() };
        let values = of_kind(Kind::Text, &[example], &[Kind::Text]);
        for text in ["Xy", "XY", "xy", "XyXy", " Xy\t", "y", "X"] {
            assert!(values.contains(&Value::Text(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn making_smaller_ends() {
        for kind in KINDS {
            for mut value in of_kind(kind, &[], &[kind]) {
                let mut rounds = 0;
                while let Some(next) = smaller(&value).into_iter().next_back() {
                    value = next;
                    rounds += 1;
                    assert!(
                        rounds < 1_000
                            || matches!(kind, Kind::Int | Kind::Date | Kind::Time | Kind::Instant | Kind::Local)
                    );
                    if rounds > 2_000 {
                        break;
                    }
                }
            }
        }
    }
}
