//! A table as the catalogue describes it, and the SQL that names its parts (layer 4). Every identifier in SQL comes from here.

use super::values;
use crate::connector::change_log::quote;
use crate::connector::{Column, Schema};
use crate::record::Record;
use crate::value::{Kind, Value};

/// How two values of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// By the type's own `=`.
    Native,
    /// By the bytes of their text: the type has no `=` (json), or one that takes different texts for equal (citext, collations).
    Text,
}

/// A column with what SQL needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PgColumn {
    /// What the port tells of it.
    pub(super) column: Column,
    /// Type to cast text to: without length, so that a value that is too long is refused and not cut; a domain's base type.
    pub(super) cast: String,
    /// Base type's name where it is built in, else empty.
    pub(super) built_in: String,
    /// How values are compared.
    pub(super) compare: Compare,
    /// Characters of a `varchar(n)`.
    pub(super) length: Option<usize>,
    /// `GENERATED ALWAYS AS IDENTITY`: an explicit value needs `OVERRIDING SYSTEM VALUE`, and none can be set by an update.
    pub(super) identity_always: bool,
    /// What the server fills it with, as an expression that we may evaluate ourselves.
    pub(super) default: Option<String>,
}

impl PgColumn {
    /// Name.
    pub(super) fn name(&self) -> &str {
        &self.column.name
    }

    /// Kind.
    pub(super) fn kind(&self) -> Kind {
        self.column.kind
    }

    /// The column of row `row`, quoted.
    pub(super) fn of(&self, row: &str) -> String {
        format!("{row}.{}", quote(self.name()))
    }

    /// Its value in row `row` as text, as COPY would print it.
    pub(super) fn text(&self, row: &str) -> String {
        self.text_of(&self.of(row))
    }

    /// An expression of its type as text.
    pub(super) fn text_of(&self, column: &str) -> String {
        match self.built_in.as_str() {
            // Their casts to text add a mask that their output function leaves out.
            "inet" => format!("textin(inet_out({column}))"),
            "cidr" => format!("textin(cidr_out({column}))"),
            _ => format!("{column}::text"),
        }
    }

    /// Its value as COPY shall print it: blanks that pad `char(n)` left out.
    pub(super) fn copied(&self, row: &str) -> String {
        if self.built_in == "bpchar" { format!("{}::text", self.of(row)) } else { self.of(row) }
    }

    /// A text expression as a value of the column.
    pub(super) fn cast(&self, text: &str) -> String {
        format!("{text}::{}", self.cast)
    }

    /// Whether the column of `row` equals a text expression, in a form that can use an index. Null equals nothing, and what the type takes for
    /// equal (citext, collations) has to have the same text, too: another spelling is another record's.
    pub(super) fn matches(&self, row: &str, text: &str) -> String {
        // An integer that is too large for the column is simply not there.
        let cast = if self.kind() == Kind::Int { "bigint" } else { &self.cast };
        let equal = format!("{} = {text}::{cast}", self.of(row));
        match self.compare {
            Compare::Native => equal,
            Compare::Text => format!("{equal} AND {}", self.same(&self.of(row), &self.cast(text))),
        }
    }

    /// Whether two expressions of the column's type are the same value; null is the same as null.
    pub(super) fn same(&self, a: &str, b: &str) -> String {
        match self.compare {
            Compare::Native => format!("{a} IS NOT DISTINCT FROM {b}"),
            Compare::Text => format!("{a}::text COLLATE \"C\" IS NOT DISTINCT FROM {b}::text COLLATE \"C\""),
        }
    }

    /// The expression to sort by so that the order is the same in every system; see `ScanOrder::Fields`.
    pub(super) fn ordered(&self, row: &str, as_text: bool) -> String {
        let column = self.of(row);
        let text = match (self.kind(), as_text) {
            (Kind::Text | Kind::Json, _) => self.text(row),
            (_, false) => return column,
            (Kind::Float, true) => format!("trim_scale({column}::text::numeric)::text"),
            (Kind::Bytes, true) => format!("translate(encode({column}, 'base64'), E'\\n', '')"),
            (Kind::Instant, true) => format!("replace(({column} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'"),
            (Kind::Local, true) => format!("replace({column}::text, ' ', 'T')"),
            (Kind::Decimal, true) => format!("trim_scale({column})::text"),
            (Kind::Null | Kind::Boolean | Kind::Int | Kind::Date | Kind::Time | Kind::Uuid, true) => {
                format!("{column}::text")
            }
        };
        format!("({text}) COLLATE \"C\"")
    }

    /// Type of a change table's column that holds this key field: wide enough that a later `ALTER TYPE` (integer → bigint,
    /// varchar(20) → text) does not make the trigger fail, and with it the application's write.
    pub(super) fn tracked_type(&self) -> &str {
        match self.built_in.as_str() {
            "int2" | "int4" | "int8" => "bigint",
            "varchar" | "bpchar" | "name" => "text",
            _ => &self.cast,
        }
    }
}

/// A value that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit<'a> {
    /// Its field.
    pub(super) field: &'a str,
    /// Code of the error.
    pub(super) code: &'static str,
    /// What is wrong with it.
    pub(super) why: &'static str,
}

impl std::fmt::Display for Unfit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the value of \"{}\" {}", self.field, self.why)
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Schema.
    pub(super) schema: String,
    /// Name.
    pub(super) name: String,
    /// Every column, in the catalogue's order.
    pub(super) columns: Vec<PgColumn>,
    /// Primary key, or a unique key without nulls.
    pub(super) key: Vec<String>,
    /// A view: nothing is written to it, and the key is what the configuration says.
    pub(super) view: bool,
    /// Field sets that `ON CONFLICT` can name.
    pub(super) unique: Vec<Vec<String>>,
}

impl Table {
    /// `"schema"."name"`.
    pub(super) fn quoted(&self) -> String {
        self.beside(&self.name)
    }

    /// Another table or function of the same schema, quoted.
    pub(super) fn beside(&self, name: &str) -> String {
        format!("{}.{}", quote(&self.schema), quote(name))
    }

    /// `schema.name`, for messages.
    pub(super) fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// The column of that name.
    pub(super) fn column(&self, name: &str) -> Option<&PgColumn> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// What the server cannot store of a record, or would cut without a word: the field, a code, and why.
    pub(super) fn unfit<'a>(&self, record: &'a Record) -> Option<Unfit<'a>> {
        record.iter().find_map(|(field, value)| {
            if values::has_nul(value) {
                return Some(Unfit {
                    field,
                    code: "postgres.nul_character",
                    why: "has the character U+0000, which PostgreSQL's text cannot have",
                });
            }
            let Value::Text(text) = value else { return None };
            if !text.ends_with(' ') {
                return None;
            }
            let length = self.column(field)?.length?;
            let why = "is longer than the column, whose blanks at the end the server would cut";
            (text.chars().count() > length).then_some(Unfit { field, code: "postgres.invalid_record", why })
        })
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
