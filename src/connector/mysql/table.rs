//! A table as the catalogue describes it, and the SQL that names its parts (layer 4). Every identifier in SQL comes from here.

use crate::connector::{Column, Schema};
use crate::value::Kind;

/// Quotes an identifier, whatever the session's SQL mode.
pub(super) fn quote(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// A text in SQL, in a session that takes `\` for an escape.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A column with what SQL needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MyColumn {
    /// What the port tells of it.
    pub(super) column: Column,
    /// Type without its parameters, in small letters.
    pub(super) data_type: String,
    /// `UNSIGNED`, and `BIT`.
    pub(super) unsigned: bool,
    /// All digits of a decimal.
    pub(super) digits: u32,
    /// Those after the point.
    pub(super) scale: u32,
    /// Digits of a second's fraction.
    pub(super) fraction: u32,
    /// Characters of a `CHAR(n)` or `VARCHAR(n)`, bytes of a `BINARY(n)`.
    pub(super) length: Option<usize>,
    /// The values that an `ENUM` or a `SET` has.
    pub(super) members: Vec<String>,
    /// `AUTO_INCREMENT`.
    pub(super) auto_increment: bool,
}

impl MyColumn {
    /// Name.
    pub(super) fn name(&self) -> &str {
        &self.column.name
    }

    /// Kind.
    pub(super) fn kind(&self) -> Kind {
        self.column.kind
    }

    /// The column of row `row` (a table or an alias, quoted).
    pub(super) fn of(&self, row: &str) -> String {
        format!("{row}.{}", quote(self.name()))
    }

    /// The expression by which its value in row `row` is read: see `values::decode`.
    pub(super) fn read(&self, row: &str) -> String {
        let column = self.of(row);
        match self.kind() {
            Kind::Int | Kind::Boolean if matches!(self.data_type.as_str(), "bit" | "year") => format!("{column} + 0"),
            // A single-precision number is printed with six digits; as a double it has them all.
            Kind::Float if self.data_type == "float" => format!("{column} + 0e0"),
            Kind::Date | Kind::Time | Kind::Instant | Kind::Local | Kind::Uuid => format!("CAST({column} AS CHAR)"),
            Kind::Text if matches!(self.data_type.as_str(), "inet4" | "inet6") => format!("CAST({column} AS CHAR)"),
            Kind::Null
            | Kind::Boolean
            | Kind::Int
            | Kind::Float
            | Kind::Decimal
            | Kind::Text
            | Kind::Bytes
            | Kind::Json => column,
        }
    }

    /// A parameter that is compared with the column. The server would compare a decimal with a text as doubles.
    pub(super) fn parameter(&self) -> String {
        match self.kind() {
            Kind::Decimal => format!("CAST(? AS DECIMAL({}, {}))", self.digits, self.scale),
            Kind::Null
            | Kind::Boolean
            | Kind::Int
            | Kind::Float
            | Kind::Text
            | Kind::Bytes
            | Kind::Date
            | Kind::Time
            | Kind::Instant
            | Kind::Local
            | Kind::Json
            | Kind::Uuid => "?".to_owned(),
        }
    }

    /// Whether two rows have the same bytes in the column: its own `=` may take different texts for equal.
    pub(super) fn same(&self, a: &str, b: &str) -> String {
        match self.kind() {
            Kind::Text | Kind::Json => format!("{} <=> {}", bytes(&self.of(a)), bytes(&self.of(b))),
            Kind::Null
            | Kind::Boolean
            | Kind::Int
            | Kind::Float
            | Kind::Decimal
            | Kind::Bytes
            | Kind::Date
            | Kind::Time
            | Kind::Instant
            | Kind::Local
            | Kind::Uuid => format!("{} <=> {}", self.of(a), self.of(b)),
        }
    }

    /// The expression to sort by so that the order is the same in every system; see `ScanOrder::Fields`.
    pub(super) fn ordered(&self, row: &str, as_text: bool) -> String {
        let read = self.read(row);
        let text = match (self.kind(), as_text) {
            (Kind::Text | Kind::Json | Kind::Uuid, _) => read,
            (_, false) => return self.of(row),
            (Kind::Null | Kind::Int | Kind::Date, true) => format!("CAST({read} AS CHAR)"),
            (Kind::Boolean, true) => format!("IF({read}, 'true', 'false')"),
            (Kind::Float, true) => float_text(&read),
            (Kind::Decimal, true) => trimmed(&format!("CAST({read} AS CHAR)"), &self.scale),
            (Kind::Bytes, true) => format!("REPLACE(TO_BASE64({read}), '\\n', '')"),
            (Kind::Time, true) => trimmed(&read, &self.fraction),
            (Kind::Instant, true) => format!("CONCAT(REPLACE({}, ' ', 'T'), 'Z')", trimmed(&read, &self.fraction)),
            (Kind::Local, true) => format!("REPLACE({}, ' ', 'T')", trimmed(&read, &self.fraction)),
        };
        bytes(&text)
    }

    /// The column of a change table that holds this key field: wide enough that a later change of its type (int → bigint, a longer
    /// varchar) does not make the stream fail.
    pub(super) fn tracked(&self, index: usize) -> Self {
        let data_type = match (self.kind(), self.data_type.as_str()) {
            (Kind::Boolean | Kind::Int, _) => "bigint",
            (Kind::Float, _) => "double",
            (Kind::Null | Kind::Text | Kind::Json, _) => "longtext",
            (Kind::Bytes, _) => "longblob",
            (Kind::Decimal | Kind::Date | Kind::Time | Kind::Instant | Kind::Local | Kind::Uuid, other) => other,
        };
        let column = Column { name: format!("k{index}"), ..self.column.clone() };
        let (length, members) = (None, Vec::new());
        Self {
            column,
            data_type: data_type.to_owned(),
            fraction: 6,
            length,
            members,
            auto_increment: false,
            ..self.clone()
        }
    }

    /// Definition of a change table's column. An instant keeps its type: converted to another it would take the writer's time zone.
    pub(super) fn tracked_definition(&self) -> String {
        let name = quote(self.name());
        match self.data_type.as_str() {
            "bigint" if self.unsigned => format!("{name} bigint unsigned NULL"),
            "longtext" => format!("{name} longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL"),
            "decimal" => format!("{name} decimal({}, {}) NULL", self.digits, self.scale),
            data_type @ ("time" | "datetime" | "timestamp") => format!("{name} {data_type}(6) NULL"),
            data_type => format!("{name} {data_type} NULL"),
        }
    }
}

/// A text as the bytes of its UTF-8: compared and sorted exactly, blanks at its end included.
fn bytes(text: &str) -> String {
    format!("CAST(CONVERT({text} USING utf8mb4) AS BINARY)")
}

/// Without the zeros that end a fraction of `digits` digits.
fn trimmed(text: &str, digits: &u32) -> String {
    if *digits == 0 {
        return text.to_owned();
    }
    format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {text}))")
}

/// The digits of a double without an exponent, which the server prints for large and small ones (`1.5e22`).
fn float_text(number: &str) -> String {
    let text = format!("CAST({number} AS CHAR)");
    let digits = format!("REPLACE(SUBSTRING_INDEX(REPLACE({text}, '-', ''), 'e', 1), '.', '')");
    let exponent = format!("CAST(SUBSTRING_INDEX({text}, 'e', -1) AS SIGNED)");
    format!(
        "CASE WHEN INSTR({text}, 'e') = 0 THEN {text} ELSE CONCAT(IF({number} < 0, '-', ''), \
           CASE WHEN {exponent} < 0 THEN CONCAT('0.', REPEAT('0', -{exponent} - 1), {digits}) \
             WHEN CHAR_LENGTH({digits}) <= {exponent} + 1 THEN RPAD({digits}, {exponent} + 1, '0') \
             ELSE CONCAT(LEFT({digits}, {exponent} + 1), '.', SUBSTR({digits}, {exponent} + 2)) END) END"
    )
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Database.
    pub(super) database: String,
    /// Name.
    pub(super) name: String,
    /// Every column, in the catalogue's order.
    pub(super) columns: Vec<MyColumn>,
    /// Primary key, or a unique key without nulls.
    pub(super) key: Vec<String>,
    /// A view: nothing is written to it, and the key is what the configuration says.
    pub(super) view: bool,
    /// Field sets of unique keys over whole columns.
    pub(super) unique: Vec<Vec<String>>,
}

impl Table {
    /// `` `database`.`name` ``.
    pub(super) fn quoted(&self) -> String {
        self.beside(&self.name)
    }

    /// Another table or trigger of the same database, quoted.
    pub(super) fn beside(&self, name: &str) -> String {
        format!("{}.{}", quote(&self.database), quote(name))
    }

    /// `database.name`, for messages.
    pub(super) fn label(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    /// The column of that name.
    pub(super) fn column(&self, name: &str) -> Option<&MyColumn> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// What the port tells of it.
    pub(super) fn schema(&self) -> Schema {
        Schema {
            columns: self.columns.iter().map(|column| column.column.clone()).collect(),
            key: self.key.clone(),
            unique: self.unique.clone(),
            view: self.view,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quote("a`b"), "`a``b`");
        assert_eq!(literal("it's \\"), "'it''s \\\\'");
    }
}
