//! Reads the catalogue (layer 4): endpoint → [`Table`].

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

use super::errors::{Place, Sql};
use super::options::Server;
use super::table::{MyColumn, Table};
use super::values::kind_of;
use crate::connector::{Column, Keeps, view};
use crate::error::{ErrorKind, Result, SyncError};

/// Near names that a message lists at most.
const NEAR_NAMES: usize = 3;
/// Names less alike than this are not worth a mention.
const NEAR_ENOUGH: f64 = 0.7;

/// A table or view by its names.
struct Found {
    database: String,
    name: String,
    kind: String,
    engine: Option<String>,
    view: bool,
}

/// Describes the endpoint's table.
pub(super) async fn describe(
    connection: &mut MySqlConnection,
    server: &Server,
    (collection, view_key): (&str, &[String]),
) -> Result<Table> {
    let found = locate(connection, server, collection).await?;
    let place = Place { table: Some(format!("{}.{}", found.database, found.name)), ..server.place.clone() };
    let failed = |error| place.failed("reading the catalogue", error);
    let mut columns = columns(connection, &found).await.map_err(failed)?;
    let Found { database, name, .. } = &found;
    if found.view {
        let key = view::keyed_by(columns.iter_mut().map(|column| &mut column.column), view_key).map_err(|why| {
            place.error(ErrorKind::SchemaMismatch, "mysql.no_key", format_args!("{database}.{name} {why}"))
        })?;
        let (database, name) = (found.database, found.name);
        return Ok(Table { database, name, columns, unique: vec![key.clone()], key, view: true });
    }
    let keys = keys(connection, &found).await.map_err(failed)?;
    let not_null = |fields: &[String]| {
        fields.iter().all(|field| columns.iter().any(|column| column.name() == field && !column.column.nullable))
    };
    let key = keys.iter().find(|key| key.primary || not_null(&key.fields)).map(|key| key.fields.clone());
    let key = key.ok_or_else(|| {
        place.error(
            ErrorKind::SchemaMismatch,
            "mysql.no_key",
            "the table has neither a primary key nor a unique key over not-null columns; add one, e.g. ALTER TABLE … ADD PRIMARY KEY (…)",
        )
    })?;
    let unique = keys.into_iter().map(|key| key.fields).collect();
    Ok(Table { database: found.database, name: found.name, columns, key, unique, view: false })
}

/// The tables that a name can mean, best first: as it stands, then as `database.table`.
pub(super) fn candidates<'a>(database: &'a str, collection: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut names = vec![(database, collection)];
    names.extend(collection.split_once('.').filter(|(database, table)| !database.is_empty() && !table.is_empty()));
    names
}

async fn locate(connection: &mut MySqlConnection, server: &Server, collection: &str) -> Result<Found> {
    let place = &server.place;
    let failed = |error| place.failed("looking for the table", error);
    for (database, name) in candidates(&server.database, collection) {
        let Some(found) = look_up(connection, database, name).await.map_err(failed)? else { continue };
        let refused = |code, what: &str| {
            Err(place.error(ErrorKind::SchemaMismatch, code, format_args!("{}.{} {what}", found.database, found.name)))
        };
        if found.view {
            return Ok(found);
        }
        if found.kind != "BASE TABLE" {
            return refused("mysql.not_a_table", "is neither a table nor a view; only those are kept in step");
        }
        let transactions = found.engine.as_deref().is_some_and(|engine| ["InnoDB", "ROCKSDB"].contains(&engine));
        if !transactions {
            return refused("mysql.engine", "has an engine without transactions; ALTER TABLE … ENGINE = InnoDB");
        }
        return Ok(found);
    }
    Err(missing(connection, server, collection).await)
}

/// The comparison of the catalogue ignores case; whether the server does is a setting of its own.
async fn look_up(connection: &mut MySqlConnection, database: &str, name: &str) -> Sql<Option<Found>> {
    // Names have three bytes a character at most: the server would not even compare others.
    if database.chars().chain(name.chars()).any(|letter| u32::from(letter) > 0xffff) {
        return Ok(None);
    }
    let rows = sqlx::query(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, @@lower_case_table_names FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
    )
    .bind(database.to_owned())
    .bind(name.to_owned())
    .fetch_all(connection)
    .await?;
    let mut found = None;
    for row in &rows {
        let any_case = row.try_get_unchecked::<i64, _>(4)? > 0;
        let (of, table) = (text(row, 0)?, text(row, 1)?);
        if any_case || (of == database && table == name) {
            let kind = text(row, 2)?;
            let view = kind == "VIEW";
            found = Some(Found { database: of, name: table, kind, engine: row.try_get_unchecked(3)?, view });
        }
    }
    Ok(found)
}

async fn missing(connection: &mut MySqlConnection, server: &Server, collection: &str) -> SyncError {
    let place = &server.place;
    let names = sqlx::query(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
         AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') \
         AND TABLE_NAME NOT LIKE 'tidelock\\_%' LIMIT 10000",
    )
    .fetch_all(connection)
    .await
    .and_then(|rows| rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?))).collect::<Sql<Vec<_>>>());
    let names = match names {
        Ok(names) => names,
        Err(error) => return place.failed("looking for the table", error),
    };
    let text = format!("there is no table {collection} (database {})", server.database);
    let near = near_names(&server.database, collection, &names);
    let text = if near.is_empty() { text } else { format!("{text}; did you mean {}?", near.join(" or ")) };
    place.error(ErrorKind::SchemaMismatch, "mysql.no_table", text)
}

fn near_names(database: &str, collection: &str, names: &[(String, String)]) -> Vec<String> {
    let bare = collection.rsplit('.').next().unwrap_or(collection).to_lowercase();
    let mut near: Vec<(f64, String)> = names
        .iter()
        .map(|(of, name)| {
            let shown = if of == database { name.clone() } else { format!("{of}.{name}") };
            (strsim::jaro_winkler(&bare, &name.to_lowercase()), shown)
        })
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.into_iter().take(NEAR_NAMES).map(|(_, name)| name).collect()
}

/// The catalogue's own types vary with the server: its texts are read as what they are.
fn text(row: &MySqlRow, column: usize) -> Sql<String> {
    row.try_get_unchecked(column)
}

/// The casts are for MariaDB, which answers with decimals where it mixes signs.
const COLUMNS: &str = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT IS NOT NULL, EXTRA, \
       COALESCE(GENERATION_EXPRESSION, '') <> '', CAST(COALESCE(NUMERIC_PRECISION, 0) AS UNSIGNED), CAST(COALESCE(NUMERIC_SCALE, 0) AS UNSIGNED), \
       CAST(COALESCE(DATETIME_PRECISION, 0) AS UNSIGNED), CAST(COALESCE(CHARACTER_MAXIMUM_LENGTH, 0) AS UNSIGNED) \
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

async fn columns(connection: &mut MySqlConnection, table: &Found) -> Sql<Vec<MyColumn>> {
    let json = json_columns(connection, table).await?;
    let rows = sqlx::query(COLUMNS).bind(table.database.clone()).bind(table.name.clone()).fetch_all(connection).await?;
    rows.iter().map(|row| column(row, &json)).collect()
}

fn column(row: &MySqlRow, json: &[String]) -> Sql<MyColumn> {
    let number = |index: usize| row.try_get_unchecked::<u64, _>(index);
    let small = |index: usize| number(index).map(|value| u32::try_from(value).unwrap_or_default());
    let (name, data_type, native) = (text(row, 0)?, text(row, 1)?.to_lowercase(), text(row, 2)?);
    let (nullable, extra) = (text(row, 3)? == "YES", text(row, 5)?.to_lowercase());
    let generated = number(6)? != 0;
    // MariaDB's JSON is a text with a check.
    let kind = if json.contains(&name) { crate::value::Kind::Json } else { kind_of(&data_type, &native) };
    let auto_increment = extra.contains("auto_increment");
    // MariaDB says of a column without a default that it is null, where null may be stored.
    let has_default = number(4)? != 0 || auto_increment || extra.contains("default_generated");
    let (fraction, length) = (small(9)?, usize::try_from(number(10)?).ok());
    let keeps = Keeps {
        second_digits: matches!(data_type.as_str(), "time" | "datetime" | "timestamp").then_some(fraction),
        rounded_to: None,
        single: data_type == "float",
        no_blanks_at_end: data_type == "char",
        filled_to: length.filter(|_| data_type == "binary"),
        // MariaDB's is a text.
        json_by_meaning: data_type == "json",
        bits: data_type == "bit" && kind != crate::value::Kind::Boolean,
        anything: false,
        set: data_type == "set",
    };
    let sized = matches!(data_type.as_str(), "char" | "varchar" | "binary");
    Ok(MyColumn {
        unsigned: data_type == "bit" || native.contains("unsigned"),
        digits: small(7)?,
        scale: small(8)?,
        fraction,
        length: length.filter(|_| sized),
        members: members(&native),
        auto_increment,
        data_type,
        column: Column {
            name,
            kind,
            native_type: native,
            nullable,
            has_default: has_default && !generated,
            writable: !generated,
            keeps,
        },
    })
}

/// The values that an `enum` or a `set` has: `enum('a','it''s')`.
fn members(native: &str) -> Vec<String> {
    let listed = ["enum(", "set("].iter().find_map(|name| native.strip_prefix(name)?.strip_suffix(')'));
    let mut members = Vec::new();
    let mut letters = listed.unwrap_or_default().chars().peekable();
    while letters.next_if_eq(&'\'').is_some() {
        let mut member = String::new();
        while let Some(letter) = letters.next() {
            // Inside a member a quote is doubled.
            if letter == '\'' && letters.next_if_eq(&'\'').is_none() {
                break;
            }
            member.push(letter);
        }
        members.push(member);
        letters.next_if_eq(&',');
    }
    members
}

/// Columns that a check of their own holds to JSON: `json_valid(...)`.
async fn json_columns(connection: &mut MySqlConnection, table: &Found) -> Sql<Vec<String>> {
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut *connection).await?;
    if !version.contains("MariaDB") {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?",
    )
    .bind(table.database.clone())
    .bind(table.name.clone())
    .fetch_all(connection)
    .await?;
    let clauses = rows.iter().map(|row| text(row, 0)).collect::<Sql<Vec<_>>>()?;
    let name = |clause: String| {
        let quoted = clause.strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(quoted.replace("``", "`"))
    };
    Ok(clauses.into_iter().filter_map(name).collect())
}

struct UniqueKey {
    fields: Vec<String>,
    primary: bool,
    partial: bool,
}

/// Unique keys over whole columns, the primary key first, then the shortest.
async fn keys(connection: &mut MySqlConnection, table: &Found) -> Sql<Vec<UniqueKey>> {
    let rows = sqlx::query(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART IS NOT NULL FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
    )
    .bind(table.database.clone())
    .bind(table.name.clone())
    .fetch_all(connection)
    .await?;
    let mut keys: Vec<(String, UniqueKey)> = Vec::new();
    for row in &rows {
        let index = text(row, 0)?;
        // An expression (MySQL) has no column.
        let column: Option<String> = row.try_get_unchecked(1)?;
        let partial = column.is_none() || row.try_get_unchecked::<u64, _>(2)? != 0;
        match keys.last_mut().filter(|(name, _)| *name == index) {
            Some((_, key)) => {
                key.partial |= partial;
                key.fields.extend(column);
            }
            None => {
                let primary = index == "PRIMARY";
                keys.push((index, UniqueKey { fields: column.into_iter().collect(), primary, partial }));
            }
        }
    }
    let mut keys: Vec<UniqueKey> = keys.into_iter().map(|(_, key)| key).filter(|key| !key.partial).collect();
    keys.sort_by_key(|key| (!key.primary, key.fields.len()));
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_they_were_declared() {
        assert_eq!(members("enum('a','it''s','','x,y')"), ["a", "it's", "", "x,y"]);
        assert_eq!(members("set('a')"), ["a"]);
        assert!(members("varchar(5)").is_empty());
    }

    #[test]
    fn names_are_taken_as_they_stand_then_cut_at_the_dot() {
        assert_eq!(candidates("d", "a.b"), [("d", "a.b"), ("a", "b")]);
        assert_eq!(candidates("d", "a."), [("d", "a.")]);
    }

    #[test]
    fn near_names_name_their_database_where_it_is_another() {
        let names = [("shop", "Customers"), ("sales", "customer"), ("shop", "zebra")]
            .map(|(database, table)| (database.to_owned(), table.to_owned()));
        assert_eq!(near_names("shop", "custmers", &names), ["Customers", "sales.customer"]);
    }
}
