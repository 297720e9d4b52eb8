//! Declared column types (layer 4): type name → affinity (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>)
//! and kind.

use crate::value::Kind;

/// What SQLite does to a value on its way into a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    /// Text that looks like a number becomes one, reals without a fraction become integers.
    Integer,
    /// Numbers become text.
    Text,
    /// Nothing changes.
    Blob,
    /// Text that looks like a number becomes one, integers become reals.
    Real,
    /// Text that looks like a number becomes one.
    Numeric,
}

impl Affinity {
    /// The affinity of a declared type, in a table that is `STRICT` or not.
    pub(super) fn of(declared: &str, strict: bool) -> Self {
        let name = declared.to_ascii_uppercase();
        let has = |part: &str| name.contains(part);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if name.is_empty() || has("BLOB") || (strict && name == "ANY") {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// Whether text that looks like a number does not stay text.
    pub(super) fn changes_text(self) -> bool {
        matches!(self, Self::Integer | Self::Real | Self::Numeric)
    }
}

/// The kind of a declared type.
pub(super) fn kind(declared: &str, affinity: Affinity) -> Kind {
    let name = declared.to_ascii_uppercase();
    let base = name.split('(').next().unwrap_or_default().trim();
    let zoned = name.contains("WITH TIME ZONE") || name.contains("WITH LOCAL TIME ZONE");
    let starts = |part: &str| base.starts_with(part);
    match base {
        "DATE" => return Kind::Date,
        "TIMESTAMPTZ" | "TIMESTAMP_TZ" | "DATETIMEOFFSET" | "DATETIMETZ" => return Kind::Instant,
        "JSON" | "JSONB" => return Kind::Json,
        "UUID" | "GUID" | "UNIQUEIDENTIFIER" => return Kind::Uuid,
        "MONEY" | "NUMBER" | "DEC" | "FIXED" => return Kind::Decimal,
        "BYTEA" | "BINARY" | "VARBINARY" | "IMAGE" => return Kind::Bytes,
        // A time of day with a zone has no kind.
        "TIMETZ" => return Kind::Text,
        _ => {}
    }
    if starts("DATETIME") || starts("TIMESTAMP") {
        return if zoned { Kind::Instant } else { Kind::Local };
    }
    if base == "TIME" || starts("TIME ") {
        return if zoned { Kind::Text } else { Kind::Time };
    }
    if starts("BOOL") {
        return Kind::Boolean;
    }
    if starts("DECIMAL") || starts("NUMERIC") {
        return if affinity == Affinity::Real { Kind::Float } else { Kind::Decimal };
    }
    match affinity {
        // POINT and INTERVAL have integer affinity by accident of their letters.
        Affinity::Integer if name.contains("POINT") || name.contains("INTERVAL") => Kind::Text,
        Affinity::Integer => Kind::Int,
        Affinity::Real => Kind::Float,
        Affinity::Blob if name.contains("BLOB") => Kind::Bytes,
        // A column without a type takes anything: text is what everything can be converted to.
        Affinity::Blob | Affinity::Text | Affinity::Numeric => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_have_kinds() {
        for (declared, expected) in [
            ("INTEGER", Kind::Int),
            ("bigint", Kind::Int),
            ("UNSIGNED BIG INT", Kind::Int),
            ("BOOLEAN", Kind::Boolean),
            ("bool", Kind::Boolean),
            ("REAL", Kind::Float),
            ("double precision", Kind::Float),
            ("FLOAT", Kind::Float),
            ("DECIMAL(10,2)", Kind::Decimal),
            ("NUMERIC", Kind::Decimal),
            ("DECIMALTEXT", Kind::Decimal),
            ("DATE", Kind::Date),
            ("DATETIME", Kind::Local),
            ("TIMESTAMP", Kind::Local),
            ("TIMESTAMP(6) WITHOUT TIME ZONE", Kind::Local),
            ("TIMESTAMPTZ", Kind::Instant),
            ("TIMESTAMP WITH TIME ZONE", Kind::Instant),
            ("TIMESTAMP(6) WITH TIME ZONE", Kind::Instant),
            ("TIME", Kind::Time),
            ("TIME(3)", Kind::Time),
            ("TIME WITH TIME ZONE", Kind::Text),
            ("JSON", Kind::Json),
            ("UUID", Kind::Uuid),
            ("BLOB", Kind::Bytes),
            ("VARBINARY(16)", Kind::Bytes),
            ("", Kind::Text),
            ("VARCHAR(20)", Kind::Text),
            ("TEXT", Kind::Text),
            ("STRING", Kind::Text),
            ("POINT", Kind::Text),
        ] {
            assert_eq!(kind(declared, Affinity::of(declared, false)), expected, "{declared}");
        }
    }

    #[test]
    fn affinities_follow_the_rules_of_sqlite() {
        for (declared, strict, expected) in [
            ("CHARINT", false, Affinity::Integer),
            ("DECIMALTEXT", false, Affinity::Text),
            ("STRING", false, Affinity::Numeric),
            ("ANY", false, Affinity::Numeric),
            ("ANY", true, Affinity::Blob),
            ("", false, Affinity::Blob),
            ("JSON", false, Affinity::Numeric),
        ] {
            assert_eq!(Affinity::of(declared, strict), expected, "{declared}");
        }
    }
}
