//! Makes tables, columns and indexes that a pair wants (layer 4): blueprint → statements.

use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::catalogue::candidates;
use super::errors::{Place, Sql, is_there};
use super::options::Server;
use super::table::{Table, quote};
use super::values::kind_of;
use crate::connector::change_log::list;
use crate::connector::{Blueprint, Creation, Keeps, NewColumn, columns_by_index, without_index};
use crate::error::{ErrorKind, Result};
use crate::value::Kind;

/// The most characters of a name.
const NAME_CHARS_MAX: usize = 64;
/// Bytes of an index entry, less what the other fields of a key may take.
const INDEX_BYTES: usize = 3000;
/// Bytes of a character.
const CHARACTER_BYTES: usize = 4;
/// Longer texts are stored apart from the row, whose size is limited.
const ROW_CHARS_MAX: u32 = 255;
/// The widest decimal.
const DIGITS_MAX: u32 = 65;
/// Its digits behind the point.
const SCALE_MAX: u32 = 30;

/// The statement that makes the table that `collection` names.
pub(super) fn creation(server: &Server, collection: &str, blueprint: &Blueprint) -> Result<Creation> {
    let place = &server.place;
    let (database, name) = candidates(&server.database, collection).pop().unwrap_or((&server.database, collection));
    let columns = blueprint.columns.iter().map(|column| column.name.as_str());
    for given in columns.chain([database, name]) {
        check_name(place, given)?;
    }
    let chars = INDEX_BYTES / CHARACTER_BYTES / blueprint.widest_index().max(1);
    let type_of = |column: &NewColumn| type_of(column, blueprint.is_indexed(&column.name).then_some(chars));
    let generated =
        blueprint.generated_key.iter().map(|name| format!("{} bigint NOT NULL AUTO_INCREMENT", quote(name)));
    let columns = blueprint.columns.iter().map(|column| definition(column, &type_of(column)));
    let lines: Vec<String> = generated
        .chain(columns)
        .chain([format!("PRIMARY KEY ({})", names(&blueprint.primary()))])
        .chain(blueprint.unique.iter().map(|fields| format!("UNIQUE KEY ({})", names(fields))))
        .chain(blueprint.indexes.iter().map(|fields| format!("KEY ({})", names(fields))))
        .collect();
    // Texts that differ in their bytes are different values everywhere else.
    let statement = format!(
        "CREATE TABLE {}.{} (\n  {}\n) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        quote(database),
        quote(name),
        lines.join(",\n  ")
    );
    let schema = blueprint.schema(
        |column| {
            let native = type_of(column);
            let data_type = native.split(['(', ' ']).next().unwrap_or_default().to_owned();
            let kind = kind_of(&data_type, &native);
            // MySQL's keeps what it means; MariaDB's is a text, which keeps more.
            let keeps = Keeps { json_by_meaning: kind == Kind::Json, ..Keeps::default() };
            (native, kind, keeps)
        },
        "bigint",
    );
    Ok(Creation { statements: vec![statement], schema })
}

/// The statement that adds a column.
pub(super) fn addition(place: &Place, table: &Table, column: &NewColumn) -> Result<String> {
    check_name(place, &column.name)?;
    Ok(format!("ALTER TABLE {} ADD COLUMN {}", table.quoted(), definition(column, &type_of(column, None))))
}

/// Carries statements out; each is atomic. What another session made at the same moment is there: that is no error.
pub(super) async fn define(connection: &mut MySqlConnection, place: &Place, statements: &[String]) -> Result<()> {
    for statement in statements {
        match sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut *connection).await {
            Err(error) if !is_there(&error) => return Err(place.failed("making the table", error)),
            _ => {}
        }
    }
    Ok(())
}

/// For those of `wanted` that no index begins with: the statement that makes one.
pub(super) async fn missing_indexes(
    connection: &mut MySqlConnection,
    table: &Table,
    wanted: &[Vec<String>],
) -> Sql<Vec<String>> {
    let rows = sqlx::query(
        "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND INDEX_TYPE = 'BTREE' ORDER BY INDEX_NAME, SEQ_IN_INDEX",
    )
    .bind(table.database.clone())
    .bind(table.name.clone())
    .fetch_all(connection)
    .await?;
    let rows = rows.iter().map(|row| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?)));
    let indexes = columns_by_index(rows.collect::<Sql<Vec<_>>>()?);
    Ok(without_index(wanted, &indexes).map(|fields| index(table, fields)).collect())
}

/// The statement that makes an index. Of a text without a length only the first characters can be indexed.
fn index(table: &Table, fields: &[String]) -> String {
    let part = |field: &String| match table.column(field).map(|column| column.data_type.as_str()) {
        Some(kind) if kind.ends_with("text") || kind.ends_with("blob") => format!("{}(191)", quote(field)),
        _ => quote(field),
    };
    let name: String = fields.join("_").chars().take(NAME_CHARS_MAX - "_index".len()).collect();
    format!(
        "CREATE INDEX {} ON {} ({})",
        quote(&format!("{name}_index")),
        table.quoted(),
        list(fields.iter().map(part))
    )
}

fn names(fields: &[String]) -> String {
    list(fields.iter().map(|name| quote(name)))
}

fn check_name(place: &Place, name: &str) -> Result<()> {
    let allowed = |letter: char| letter != '\0' && u32::from(letter) <= 0xffff;
    if !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && name.chars().all(allowed) && !name.ends_with(' ') {
        return Ok(());
    }
    let text = format!(
        "the name \"{name}\" cannot be used: MySQL takes 1 to {NAME_CHARS_MAX} characters, none of them NUL or beyond U+FFFF (emoji), \
         and no blank at the end"
    );
    Err(place.error(ErrorKind::SchemaMismatch, "mysql.name", text))
}

/// A `timestamp` that is not said to be null is filled by the server, and set anew at each update.
fn definition(column: &NewColumn, native: &str) -> String {
    let not_null = column.not_null && !native.starts_with("timestamp");
    format!("{} {native} {}", quote(&column.name), if not_null { "NOT NULL" } else { "NULL" })
}

/// The type; that of an indexed column has a length of at most `indexed` characters.
fn type_of(column: &NewColumn, indexed: Option<usize>) -> String {
    let whole = |native: &&str| !["text", "blob"].iter().any(|end| native.contains(end));
    let own = column.native("mysql").filter(|_| column.kind != Kind::Json).map(str::trim);
    if let Some(native) = own.filter(|native| indexed.is_none() || whole(native)) {
        return native.to_owned();
    }
    let length = column.length().and_then(|length| usize::try_from(length).ok());
    match (column.kind, indexed) {
        (Kind::Boolean, _) => "tinyint(1)".to_owned(),
        (Kind::Int, _) => "bigint".to_owned(),
        (Kind::Float, _) => "double".to_owned(),
        (Kind::Decimal, _) => {
            let fits = |(digits, scale): &(u32, u32)| *digits <= DIGITS_MAX && *scale <= SCALE_MAX;
            let (digits, scale) = column.digits().filter(fits).unwrap_or((DIGITS_MAX, SCALE_MAX));
            format!("decimal({digits},{scale})")
        }
        (Kind::Bytes, Some(chars)) => format!("varbinary({})", chars.min(255)),
        (Kind::Bytes, None) => "longblob".to_owned(),
        (Kind::Date, _) => "date".to_owned(),
        (Kind::Time, _) => "time(6)".to_owned(),
        // A `timestamp` ends in 2038.
        (Kind::Instant | Kind::Local, _) => "datetime(6)".to_owned(),
        (Kind::Json, None) => "json".to_owned(),
        (Kind::Uuid, _) => "char(36)".to_owned(),
        (Kind::Null | Kind::Text | Kind::Json, Some(chars)) => {
            format!("varchar({})", length.filter(|length| *length <= chars).unwrap_or(chars.min(255)))
        }
        (Kind::Null | Kind::Text, None) => match column.length().filter(|length| *length <= ROW_CHARS_MAX) {
            Some(length) => format!("varchar({length})"),
            None => "longtext".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(system: &str, native: &str, kind: Kind) -> NewColumn {
        NewColumn { name: "a`b".to_owned(), kind, like: Some((system.to_owned(), native.to_owned())), not_null: false }
    }

    #[test]
    fn types_are_those_of_the_source_or_wide_enough() {
        let types = [
            (column("mysql", "enum('a','b')", Kind::Text), None, "enum('a','b')"),
            (column("mysql", "text", Kind::Text), Some(750), "varchar(255)"),
            (column("mysql", "longtext", Kind::Json), None, "json"),
            (column("postgres", "integer", Kind::Int), None, "bigint"),
            (column("postgres", "numeric(10,2)", Kind::Decimal), None, "decimal(10,2)"),
            (column("postgres", "numeric(80,2)", Kind::Decimal), None, "decimal(65,30)"),
            (column("postgres", "character varying(40)", Kind::Text), None, "varchar(40)"),
            (column("postgres", "text", Kind::Text), None, "longtext"),
            (column("postgres", "text", Kind::Text), Some(375), "varchar(255)"),
            (column("postgres", "timestamp with time zone", Kind::Instant), None, "datetime(6)"),
        ];
        for (column, indexed, expected) in types {
            assert_eq!(type_of(&column, indexed), expected, "{column:?}");
        }
        assert_eq!(definition(&column("mysql", "int(11)", Kind::Int), "int(11)"), "`a``b` int(11) NULL");
    }
}
