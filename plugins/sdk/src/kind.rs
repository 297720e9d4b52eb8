//! The kinds of values (WIT `types.kind`).

/// The logical kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Only null.
    Null = 0,
    /// True or false.
    Boolean = 1,
    /// Signed 64-bit integer.
    Int = 2,
    /// IEEE 754 double.
    Float = 3,
    /// Decimal number of any precision, as text.
    Decimal = 4,
    /// Unicode text.
    Text = 5,
    /// Raw bytes.
    Bytes = 6,
    /// Calendar date.
    Date = 7,
    /// Time of day.
    Time = 8,
    /// A point in time.
    Instant = 9,
    /// Date and time without a zone.
    Local = 10,
    /// JSON document, as text.
    Json = 11,
    /// UUID.
    Uuid = 12,
}

/// Every kind with its name in `describe`, in the order of the codes.
const NAMES: [(Kind, &str); 13] = [
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

impl Kind {
    /// Its name in `describe`.
    pub fn name(self) -> &'static str {
        NAMES.get(self as usize).map_or("", |(_, name)| name)
    }

    /// Its code in a column.
    pub const fn code(self) -> u16 {
        self as u16
    }

    pub(crate) fn of_code(code: u16) -> Option<Self> {
        NAMES.get(usize::from(code)).map(|(kind, _)| *kind)
    }

    /// Bytes of one value where all have as many; `None`: values are as long as they like.
    pub(crate) const fn width(self) -> Option<usize> {
        match self {
            Self::Null => Some(0),
            Self::Boolean => Some(1),
            Self::Date => Some(4),
            Self::Int | Self::Float | Self::Time | Self::Instant | Self::Local => Some(8),
            Self::Uuid => Some(16),
            Self::Decimal | Self::Text | Self::Bytes | Self::Json => None,
        }
    }

    /// Whether values cross as UTF-8.
    pub(crate) const fn is_textual(self) -> bool {
        matches!(self, Self::Decimal | Self::Text | Self::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_in_one_order() {
        for (code, (kind, _)) in (0..).zip(NAMES) {
            assert_eq!((kind.code(), Kind::of_code(code)), (code, Some(kind)));
        }
        assert_eq!((Kind::of_code(13), Kind::of_code(u16::MAX)), (None, None));
        assert_eq!((Kind::Int.name(), Kind::Local.name()), ("s64", "local"));
    }
}
