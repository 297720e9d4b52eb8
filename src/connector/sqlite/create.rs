//! Makes tables, columns and indexes that a pair wants (layer 4): blueprint → statements.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::affinity::{self, Affinity};
use super::connection::Database;
use super::errors::{Place, Sql, is_there};
use super::table::Table;
use crate::connector::change_log::{list, quote};
use crate::connector::{Blueprint, Creation, Keeps, NewColumn, columns_by_index, without_index};
use crate::error::{ErrorKind, Result};
use crate::value::Kind;

/// A decimal column keeps so many digits; a longer number would become a float.
const DIGITS_MAX: u32 = 15;

/// The statements that make the table `name`.
pub(super) fn creation(place: &Place, name: &str, blueprint: &Blueprint) -> Result<Creation> {
    let columns = blueprint.columns.iter().map(|column| column.name.as_str());
    for given in columns.chain([name]) {
        check_name(place, given)?;
    }
    if name.to_ascii_lowercase().starts_with("sqlite_") {
        let text = format!("the name \"{name}\" cannot be used: SQLite keeps names with sqlite_ for itself");
        return Err(place.error(ErrorKind::SchemaMismatch, "sqlite.name", text));
    }
    let generated = blueprint.generated_key.iter().map(|name| format!("{} INTEGER PRIMARY KEY", quote(name)));
    let key = blueprint.generated_key.is_none().then(|| format!("PRIMARY KEY ({})", names(&blueprint.key)));
    let lines: Vec<String> = generated
        .chain(blueprint.columns.iter().map(definition))
        .chain(key)
        .chain(blueprint.unique.iter().map(|fields| format!("UNIQUE ({})", names(fields))))
        .collect();
    let table = format!("CREATE TABLE {} (\n  {}\n)", quote(name), lines.join(",\n  "));
    let indexes = blueprint.indexes.iter().map(|fields| index(name, fields));
    let statements = std::iter::once(table).chain(indexes).collect();
    let schema = blueprint.schema(
        |column| {
            let native = type_of(column);
            let kind = affinity::kind(&native, Affinity::of(&native, false));
            (native, kind, Keeps::default())
        },
        "INTEGER",
    );
    Ok(Creation { statements, schema })
}

/// The statement that adds a column.
pub(super) fn addition(place: &Place, table: &Table, column: &NewColumn) -> Result<String> {
    check_name(place, &column.name)?;
    Ok(format!("ALTER TABLE {} ADD COLUMN {}", table.quoted(), definition(column)))
}

/// Carries statements out in one transaction. What another program made a moment before is there: that is no error.
pub(super) async fn define(database: &Database, statements: &[String]) -> Result<()> {
    let mut transaction = database.begin().await?;
    for statement in statements {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(transaction.connection()).await;
        match done {
            Err(error) if is_there(&error) => return Ok(()),
            done => done.map_err(database.place.failed("making the table"))?,
        };
    }
    transaction.commit().await.map_err(database.place.failed("making the table"))
}

/// For those of `wanted` that no index begins with: the statement that makes one.
pub(super) async fn missing_indexes(
    connection: &mut SqliteConnection,
    table: &Table,
    wanted: &[Vec<String>],
) -> Sql<Vec<String>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT l.name, i.name FROM pragma_index_list(?1, 'main') l, pragma_index_xinfo(l.name, 'main') i \
         WHERE NOT l.partial AND i.key ORDER BY l.seq, i.seqno",
    )
    .bind(table.name.clone())
    .fetch_all(connection)
    .await?;
    let rows = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let mut indexes = columns_by_index(rows.collect::<Sql<Vec<_>>>()?);
    // The rowid has no index of its own: it is the table.
    indexes.push(table.key.iter().cloned().map(Some).collect());
    Ok(without_index(wanted, &indexes).map(|fields| index(&table.name, fields)).collect())
}

fn index(table: &str, fields: &[String]) -> String {
    let name = format!("{table}_{}_index", fields.join("_"));
    format!("CREATE INDEX {} ON {} ({})", quote(&name), quote(table), names(fields))
}

fn names(fields: &[String]) -> String {
    list(fields.iter().map(|name| quote(name)))
}

fn check_name(place: &Place, name: &str) -> Result<()> {
    if !name.is_empty() && !name.contains('\0') {
        return Ok(());
    }
    Err(place.error(ErrorKind::SchemaMismatch, "sqlite.name", format!("the name \"{name}\" cannot be used")))
}

fn definition(column: &NewColumn) -> String {
    let null = if column.not_null { " NOT NULL" } else { "" };
    format!("{} {}{null}", quote(&column.name), type_of(column))
}

fn type_of(column: &NewColumn) -> String {
    let plain = |native: &&str| {
        native.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, ' ' | '_' | '(' | ')' | ','))
    };
    if let Some(native) = column.native("sqlite").filter(plain) {
        return native.to_owned();
    }
    match column.kind {
        Kind::Boolean => "BOOLEAN".to_owned(),
        Kind::Int => "INTEGER".to_owned(),
        Kind::Float => "REAL".to_owned(),
        Kind::Decimal => match column.digits().filter(|(digits, _)| *digits <= DIGITS_MAX) {
            Some((digits, scale)) => format!("DECIMAL({digits},{scale})"),
            // Kept as text, which any number of digits is.
            None => "DECIMALTEXT".to_owned(),
        },
        Kind::Null | Kind::Text => "TEXT".to_owned(),
        Kind::Bytes => "BLOB".to_owned(),
        Kind::Date => "DATE".to_owned(),
        Kind::Time => "TIME".to_owned(),
        Kind::Instant => "TIMESTAMPTZ".to_owned(),
        Kind::Local => "TIMESTAMP".to_owned(),
        Kind::Json => "JSON".to_owned(),
        Kind::Uuid => "UUID".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for kind in Kind::ALL {
            let column = NewColumn { name: "a".to_owned(), kind, like: None, not_null: false };
            let native = type_of(&column);
            assert_eq!(affinity::kind(&native, Affinity::of(&native, false)), kind, "{native}");
        }
    }
}
