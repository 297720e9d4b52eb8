//! Values to and from the columns of the plugin contract (`types.column` of `wit/plugin.wit`), with every check of what comes back.

use super::ValueError;
use super::bindings::{Column, RowError};
use super::limits::{Fault, FaultKind, guest_error, output_bytes, value_bytes};
use crate::config::PluginLimits;
use crate::value::{Kind, Value};

/// Names and codes of the kinds, in the order of their codes.
const KINDS: [(Kind, &str); 13] = [
    (Kind::Null, "null"),
    (Kind::Boolean, "boolean"),
    (Kind::Int, "s64"),
    (Kind::Float, "f64"),
    (Kind::Decimal, "decimal"),
    (Kind::Text, "text"),
    (Kind::Bytes, "bytes"),
    (Kind::Date, "date"),
    (Kind::Time, "time"),
    (Kind::Instant, "instant"),
    (Kind::Local, "local"),
    (Kind::Json, "json"),
    (Kind::Uuid, "uuid"),
];

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// First and last day that any of our texts can show: years -9999 to 9999.
const DAYS: std::ops::RangeInclusive<i64> = -4_371_587..=2_932_896;

/// Name of a kind in `function-info`.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("null", |(_, name)| name)
}

/// Kind of a name in `function-info`; null is none of them.
pub(super) fn kind_named(name: &str) -> Option<Kind> {
    KINDS.iter().skip(1).find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}

/// Code of a kind in a column.
pub(super) fn kind_code(kind: Kind) -> u16 {
    KINDS.iter().zip(0..).find(|((known, _), _)| *known == kind).map_or(0, |(_, code)| code)
}

fn kind_coded(code: u16) -> Option<Kind> {
    KINDS.get(usize::from(code)).map(|(kind, _)| *kind)
}

/// Bytes that a value takes in a column, about.
pub(super) fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Boolean(_) => 1,
        Value::Date(_) => 4,
        Value::Int(_) | Value::Float(_) | Value::Time(_) | Value::Instant(_) | Value::Local(_) => 8,
        Value::Uuid(_) => 16,
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    }
}

/// Width of a slot; `None` for kinds of variable width.
fn width(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Null => Some(0),
        Kind::Boolean => Some(1),
        Kind::Date => Some(4),
        Kind::Int | Kind::Float | Kind::Time | Kind::Instant | Kind::Local => Some(8),
        Kind::Uuid => Some(16),
        Kind::Decimal | Kind::Text | Kind::Bytes | Kind::Json => None,
    }
}

/// Packs values of one kind and nulls. The caller keeps to the rows of a call and to values below 4 GiB in all.
pub(super) fn encode<'a>(kind: Kind, values: impl ExactSizeIterator<Item = &'a Value> + Clone) -> Column {
    let rows = values.len();
    let width = width(kind);
    let mut validity = vec![0_u8; rows.div_ceil(8)];
    let mut nulls = false;
    let mut data = Vec::with_capacity(width.map_or_else(|| values.clone().map(value_size).sum(), |width| width * rows));
    let mut offsets = Vec::with_capacity(if width.is_none() { rows + 1 } else { 0 });
    if width.is_none() {
        offsets.push(0);
    }
    for (row, value) in values.enumerate() {
        match value {
            Value::Null => {
                nulls = true;
                data.resize(data.len() + width.unwrap_or(0), 0);
            }
            Value::Boolean(value) => data.push(u8::from(*value)),
            Value::Int(value) | Value::Time(value) | Value::Instant(value) | Value::Local(value) => {
                data.extend_from_slice(&value.to_le_bytes());
            }
            Value::Float(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::Date(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::Decimal(text) | Value::Text(text) | Value::Json(text) => data.extend_from_slice(text.as_bytes()),
            Value::Bytes(bytes) => data.extend_from_slice(bytes),
            Value::Uuid(bytes) => data.extend_from_slice(bytes),
        }
        if let (false, Some(byte)) = (value.is_null(), validity.get_mut(row / 8)) {
            *byte |= 1 << (row % 8);
        }
        if width.is_none() {
            offsets.push(u32::try_from(data.len()).unwrap_or(u32::MAX));
        }
    }
    if !nulls {
        validity.clear();
    }
    Column { rows: u32::try_from(rows).unwrap_or(u32::MAX), kind: kind_code(kind), validity, offsets, data }
}

/// Unpacks what a guest returned for `input`. A value that is wrong by itself is that row's error; what is wrong with the whole
/// column is a fault of the call.
///
/// # Errors
/// [`FaultKind::BadOutput`] or [`FaultKind::OutputLimit`].
pub(super) fn decode(
    column: &Column,
    errors: &[RowError],
    expected: Kind,
    input: &[Value],
    limits: &PluginLimits,
) -> Result<Vec<Result<Value, ValueError>>, Fault> {
    let slots = Slots::check(column, input.len(), Some(expected))?;
    check_output(column.data.len(), input.iter().map(value_size).sum())?;
    let mut rows: Vec<Result<Value, ValueError>> = Vec::with_capacity(input.len());
    let mut failures = failures_by_row(errors, input.len())?;
    for (row, given) in input.iter().enumerate() {
        rows.push(match failures.get_mut(row).and_then(Option::take) {
            Some(failure) => Err(failure),
            None => slots.value(row, value_bytes(limits, value_size(given))),
        });
    }
    Ok(rows)
}

pub(super) fn failures_by_row(errors: &[RowError], rows: usize) -> Result<Vec<Option<ValueError>>, Fault> {
    let mut failures = Vec::new();
    if errors.is_empty() {
        return Ok(failures);
    }
    if errors.len() > rows {
        return Err(bad(format!("{} errors for {rows} rows", errors.len())));
    }
    failures.resize(rows, None);
    for error in errors {
        let slot = usize::try_from(error.row).ok().and_then(|row| failures.get_mut(row));
        let slot = slot.ok_or_else(|| bad(format!("an error for row {} of {rows}", error.row)))?;
        if slot.replace(guest_error(&error.code, &error.message)).is_some() {
            return Err(bad(format!("two errors for row {}", error.row)));
        }
    }
    Ok(failures)
}

/// A fault of what a guest gave back.
pub(super) fn bad(message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::BadOutput, message)
}

/// A checked column: its parts fit its rows.
pub(super) struct Slots<'a> {
    column: &'a Column,
    kind: Kind,
    width: Option<usize>,
}

impl<'a> Slots<'a> {
    /// Checks a column of so many rows, and its kind where one is expected; null fits every kind.
    ///
    /// # Errors
    /// [`FaultKind::BadOutput`].
    pub(super) fn check(column: &'a Column, rows: usize, expected: Option<Kind>) -> Result<Self, Fault> {
        if usize::try_from(column.rows) != Ok(rows) {
            return Err(bad(format!("{} rows for {rows}", column.rows)));
        }
        let kind = kind_coded(column.kind).ok_or_else(|| bad(format!("unknown kind {}", column.kind)))?;
        if let Some(expected) = expected.filter(|expected| kind != *expected && kind != Kind::Null) {
            let (kind, expected) = (kind_name(kind), kind_name(expected));
            return Err(bad(format!("a column of {kind} where {expected} is expected")));
        }
        check_bitmap(&column.validity, rows, "validity")?;
        let slots = Self { column, kind, width: width(kind) };
        slots.check_layout(rows)?;
        Ok(slots)
    }

    fn check_layout(&self, rows: usize) -> Result<(), Fault> {
        let Column { offsets, data, .. } = self.column;
        match self.width {
            Some(width) if data.len() != width * rows => {
                Err(bad(format!("{} bytes of data for {rows} rows of {}", data.len(), kind_name(self.kind))))
            }
            Some(_) => Ok(()),
            None if offsets.len() != rows + 1 => Err(bad(format!("{} offsets for {rows} rows", offsets.len()))),
            None if offsets.first() != Some(&0) => Err(bad("offsets that do not begin with 0")),
            None if offsets.last().map(|last| usize::try_from(*last)) != Some(Ok(data.len())) => {
                Err(bad("offsets that do not end with the length of the data"))
            }
            None if !offsets.is_sorted() => Err(bad("offsets that fall")),
            None => Ok(()),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        !is_set(&self.column.validity, row)
    }

    fn bytes(&self, row: usize) -> &'a [u8] {
        let at = |index: usize| self.column.offsets.get(index).and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
        let range = match self.width {
            Some(width) => row * width..(row + 1) * width,
            None => at(row)..at(row + 1),
        };
        self.column.data.get(range).unwrap_or_default()
    }

    /// The value of a row, of so many bytes at most.
    ///
    /// # Errors
    /// Where the value is not one of its kind, or too large.
    pub(super) fn value(&self, row: usize, bytes_max: usize) -> Result<Value, ValueError> {
        if self.kind == Kind::Null || self.is_null(row) {
            return Ok(Value::Null);
        }
        let bytes = self.bytes(row);
        check_size(bytes.len(), bytes_max)?;
        let wrong = || bad(format!("a value that is not {}", kind_name(self.kind))).into_value_error();
        match self.kind {
            Kind::Null => Ok(Value::Null),
            Kind::Boolean => match bytes {
                [0] => Ok(Value::Boolean(false)),
                [1] => Ok(Value::Boolean(true)),
                _ => Err(wrong()),
            },
            Kind::Int => Ok(Value::Int(long(bytes))),
            Kind::Float => Ok(Value::Float(f64::from_le_bytes(bytes.try_into().unwrap_or_default()))),
            Kind::Bytes => Ok(Value::Bytes(bytes.to_vec())),
            Kind::Uuid => bytes.try_into().map(Value::Uuid).map_err(|_| wrong()),
            Kind::Date => {
                let days = i32::from_le_bytes(bytes.try_into().unwrap_or_default());
                DAYS.contains(&i64::from(days)).then_some(Value::Date(days)).ok_or_else(wrong)
            }
            Kind::Time => {
                (0..=MICROS_PER_DAY).contains(&long(bytes)).then(|| Value::Time(long(bytes))).ok_or_else(wrong)
            }
            Kind::Instant => on_a_known_day(long(bytes)).map(Value::Instant).ok_or_else(wrong),
            Kind::Local => on_a_known_day(long(bytes)).map(Value::Local).ok_or_else(wrong),
            Kind::Text | Kind::Decimal | Kind::Json => {
                let text = std::str::from_utf8(bytes).map_err(|_| bad("text that is not UTF-8").into_value_error())?;
                Value::from_text(self.kind, text).map_err(|_| wrong())
            }
        }
    }
}

/// Whether a bitmap of a guest fits the rows.
///
/// # Errors
/// [`FaultKind::BadOutput`].
pub(super) fn check_bitmap(bitmap: &[u8], rows: usize, what: &str) -> Result<(), Fault> {
    if bitmap.is_empty() || bitmap.len() == rows.div_ceil(8) {
        return Ok(());
    }
    Err(bad(format!("a {what} bitmap of {} bytes for {rows} rows", bitmap.len())))
}

/// Whether a row is set in a checked bitmap; empty = all are.
pub(super) fn is_set(bitmap: &[u8], row: usize) -> bool {
    bitmap.is_empty() || bitmap.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0)
}

/// The bitmap of rows.
pub(super) fn bitmap(rows: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let mut bytes = vec![0_u8; rows.len().div_ceil(8)];
    for (row, set) in rows.enumerate() {
        if let (true, Some(byte)) = (set, bytes.get_mut(row / 8)) {
            *byte |= 1 << (row % 8);
        }
    }
    bytes
}

/// Whether all data of an output is small enough for its input.
///
/// # Errors
/// [`FaultKind::OutputLimit`].
pub(super) fn check_output(size: usize, input_size: usize) -> Result<(), Fault> {
    let limit = output_bytes(input_size);
    if size <= limit {
        return Ok(());
    }
    let message = format!("{size} bytes of output, {limit} are allowed for this input");
    Err(Fault::new(FaultKind::OutputLimit, message))
}

/// Whether one value of the output is small enough for its input.
pub(super) fn check_size(size: usize, limit: usize) -> Result<(), ValueError> {
    if size <= limit {
        return Ok(());
    }
    let message = format!("a value of {size} bytes, {limit} are allowed for this input");
    Err(Fault::new(FaultKind::OutputLimit, message).into_value_error())
}

fn long(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn on_a_known_day(micros: i64) -> Option<i64> {
    DAYS.contains(&micros.div_euclid(MICROS_PER_DAY)).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(
        column: &Column,
        errors: &[RowError],
        expected: Kind,
        input: &[Value],
    ) -> Result<Vec<Result<Value, ValueError>>, Fault> {
        super::decode(column, errors, expected, input, &PluginLimits::default())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn three() -> (Vec<Value>, Column) {
        let input = vec![text("ab"), Value::Null, text("c\0é")];
        let column = encode(Kind::Text, input.iter());
        (input, column)
    }

    #[test]
    fn every_kind_crosses_and_comes_back() {
        let samples = [
            Value::Boolean(true),
            Value::Int(i64::MIN),
            Value::Float(-0.5),
            Value::Decimal("12345678901234567890.5".into()),
            text("é\0"),
            Value::Bytes(vec![0, 255]),
            Value::Date(-3),
            Value::Time(1),
            Value::Instant(-1),
            Value::Local(2),
            Value::Json("{\"a\": 1}".into()),
            Value::Uuid([9; 16]),
        ];
        for sample in samples {
            let kind = sample.kind();
            assert_eq!(kind_named(kind_name(kind)), Some(kind));
            for input in
                [vec![sample.clone()], vec![Value::Null; 9], [vec![Value::Null], vec![sample.clone(); 9]].concat()]
            {
                let column = encode(kind, input.iter());
                let output: Vec<Value> =
                    decode(&column, &[], kind, &input).unwrap().into_iter().map(Result::unwrap).collect();
                assert_eq!(output, input);
            }
        }
        assert_eq!(kind_code(Kind::Uuid), 12);
        assert!(encode(Kind::Int, [Value::Int(1)].iter()).validity.is_empty());
    }

    #[test]
    fn a_malformed_column_is_a_fault_of_the_call() {
        type Change = fn(&mut Column);
        let changes: [(&str, Change); 10] = [
            ("rows", |column| column.rows = 4),
            ("unknown kind", |column| column.kind = 13),
            ("other kind", |column| column.kind = 6),
            ("validity", |column| column.validity = vec![255, 255]),
            ("too few offsets", |column| column.offsets.truncate(3)),
            ("first offset", |column| column.offsets[0] = 1),
            ("last offset", |column| column.offsets[3] = 5),
            ("falling offsets", |column| column.offsets[1] = 200),
            ("no offsets", |column| column.offsets.clear()),
            ("too much data", |column| {
                column.data = vec![b'x'; 2 << 20];
                column.offsets[3] = 2 << 20;
            }),
        ];
        for (name, change) in changes {
            let (input, mut column) = three();
            change(&mut column);
            assert!(decode(&column, &[], Kind::Text, &input).is_err(), "{name}");
        }
    }

    #[test]
    fn a_malformed_value_fails_alone() {
        let (input, mut column) = three();
        column.data[1] = 0xff;
        let rows = decode(&column, &[], Kind::Text, &input).unwrap();
        assert_eq!(rows[0].as_ref().unwrap_err().code, "bad-output");
        assert_eq!(rows[2], Ok(text("c\0é")));

        let input = vec![text("a"); 2];
        let grown = encode(Kind::Text, [text(&"x".repeat(70_000)), text("b")].iter());
        let rows = decode(&grown, &[], Kind::Text, &input).unwrap();
        assert_eq!(rows[0].as_ref().unwrap_err().code, "output-limit");
        assert_eq!(rows[1], Ok(text("b")));

        let days = encode(Kind::Date, [Value::Date(i32::MAX)].iter());
        assert!(decode(&days, &[], Kind::Date, &[text("a")]).unwrap()[0].is_err());
    }

    #[test]
    fn errors_name_rows_once_and_in_range() {
        let (input, column) = three();
        let error = |row| RowError { row, code: "Bad!".into(), message: "m".into() };
        let rows = decode(&column, &[error(2)], Kind::Text, &input).unwrap();
        assert_eq!(rows[2].as_ref().unwrap_err().code, "bad");
        assert!(decode(&column, &[error(3)], Kind::Text, &input).is_err());
        assert!(decode(&column, &[error(1), error(1)], Kind::Text, &input).is_err());
    }
}
