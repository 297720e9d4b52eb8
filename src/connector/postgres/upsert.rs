//! Unguarded upserts (layer 4), as fast as the server can: COPY into a staging table, then one `INSERT … ON CONFLICT`.
//! A table that was empty when we came is filled by COPY alone until something collides. Small batches go as parameters instead.
//! Others see what was written before it is on disk, which is waited for afterwards (`Target::settle`).

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::collection::{Collection, Column, query, unnest};
use super::copy;
use super::creates::overriding;
use super::errors::{Class, Sql, class};
use super::logical;
use super::table::{Compare, PgColumn};
use super::values;
use super::write::{SMALL, begin_sql, settings_sql};
use crate::connector::Upserted;
use crate::connector::change_log::{all, list, quote};
use crate::error::{ErrorKind, Result};
use crate::record::Record;

/// COPY data is sent in pieces of about this size, so that the server reads while we write.
const PIECE_BYTES: usize = 128 << 10;
/// How often a batch that lost a deadlock is begun again.
const TRIES_MAX: u32 = 5;
const RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(20);

/// The connection that upserts go through, with its staging tables, one per set of fields.
pub(super) struct Loader {
    connection: PgConnection,
    staged: BTreeMap<Vec<String>, String>,
}

/// What is kept between batches.
#[derive(Default)]
pub(super) struct Kept {
    /// As many as batches were written at the same time. Taken out while in use, so that a connection in an unknown state is never used
    /// again.
    loaders: Vec<Loader>,
    /// Whether the table was empty at first and nothing has collided since; `None`: nobody has looked yet.
    filling: Option<bool>,
}

/// The loaders of one target.
pub(super) type Loaders = tokio::sync::Mutex<Kept>;

/// A loader that nobody uses, and whether the table is being filled. The others wait while the first looks: its records come after.
async fn take(collection: &Collection, loaders: &Loaders) -> Result<(Loader, bool)> {
    let mut kept = loaders.lock().await;
    let mut loader = match kept.loaders.pop() {
        Some(loader) => loader,
        None => Loader { connection: collection.server.connect().await?, staged: BTreeMap::new() },
    };
    let filling = match kept.filling {
        Some(filling) => filling,
        None => loader.finds_empty(collection).await.map_err(|error| collection.place.failed("upserting", error))?,
    };
    kept.filling = Some(filling);
    Ok((loader, filling))
}

/// Inserts or updates by the correlation fields: see `Target::upsert_unsettled`.
pub(super) async fn upsert(collection: &Collection, loaders: &Loaders, records: &[Record]) -> Result<Upserted> {
    let groups = group(collection, records)?;
    let mut tries = 1;
    loop {
        let (mut loader, filling) = take(collection, loaders).await?;
        let outcome =
            if filling { loader.fill(collection, &groups).await } else { loader.write(collection, &groups).await };
        match outcome {
            Ok(written) => {
                loaders.lock().await.loaders.push(loader);
                let total = u64::try_from(records.len()).unwrap_or(u64::MAX);
                return Ok(Upserted { written, unchanged: total.saturating_sub(written), ..Upserted::default() });
            }
            // Most likely a record that is there by now: the usual way updates it, or says what else is wrong.
            Err(_) if filling => loaders.lock().await.filling = Some(false),
            Err(error) if class(&error) == Class::Contention && tries < TRIES_MAX => {
                tokio::time::sleep(RETRY_DELAY * tries).await;
                tries += 1;
            }
            Err(error) => return Err(collection.place.failed("upserting", error)),
        }
    }
}

/// Records that carry the same fields, in the order of the columns.
struct Group<'a> {
    columns: Vec<&'a PgColumn>,
    records: Vec<&'a Record>,
}

fn group<'a>(collection: &'a Collection, records: &'a [Record]) -> Result<Vec<Group<'a>>> {
    let mut groups: BTreeMap<Vec<&str>, Vec<&Record>> = BTreeMap::new();
    for run in records.chunk_by(Record::has_same_fields) {
        if let Some(unfit) = run.iter().find_map(|record| collection.table.unfit(record)) {
            let message = format!("upserting: {unfit}");
            return Err(collection.place.error(ErrorKind::InvalidRecord, unfit.code, message));
        }
        let names = run.first().into_iter().flat_map(Record::iter).map(|(name, _)| name).collect();
        groups.entry(names).or_default().extend(run);
    }
    groups.into_iter().map(|(names, records)| Ok(Group { columns: columns(collection, &names)?, records })).collect()
}

fn columns<'a>(collection: &'a Collection, names: &[&str]) -> Result<Vec<&'a PgColumn>> {
    let missing = |name: &str| {
        collection.place.error(ErrorKind::SchemaMismatch, "postgres.schema", format_args!("there is no column {name}"))
    };
    for column in &collection.correlation {
        if !names.contains(&column.name()) {
            let message = format!("upserting: a record lacks {}", column.name());
            return Err(collection.place.error(ErrorKind::InvalidRecord, "postgres.invalid_record", message));
        }
    }
    names.iter().map(|name| collection.table.column(name).ok_or_else(|| missing(name))).collect()
}

impl Loader {
    async fn finds_empty(&mut self, collection: &Collection) -> Sql<bool> {
        let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", collection.table.quoted());
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await
    }

    /// Inserts only: fails where a record with the same unique values exists.
    async fn fill(&mut self, collection: &Collection, groups: &[Group<'_>]) -> Sql<u64> {
        let mut transaction = self.connection.begin_with(AssertSqlSafe(begin_sql(collection, true))).await?;
        let mut written = 0;
        for group in groups {
            written += copy_into(&mut transaction, group, &collection.table.quoted()).await?;
        }
        logical::mark(&mut transaction, collection, written).await?;
        transaction.commit().await?;
        Ok(written)
    }

    async fn write(&mut self, collection: &Collection, groups: &[Group<'_>]) -> Sql<u64> {
        // A few records in one statement, which is a transaction by itself: one answer is waited for until others see them.
        if let Some(group) = self.alone(collection, groups).await? {
            return pass(&mut self.connection, collection, group, true).await;
        }
        for group in groups {
            if group.records.len() >= SMALL {
                self.stage(collection, group).await?;
            }
        }
        let mut transaction = self.connection.begin_with(AssertSqlSafe(begin_sql(collection, true))).await?;
        let mut written = 0;
        for group in groups {
            let names: Vec<String> = group.columns.iter().map(|column| column.name().to_owned()).collect();
            written += match self.staged.get(&names) {
                Some(stage) if group.records.len() >= SMALL => {
                    copy_through(&mut transaction, collection, group, stage).await?
                }
                _ => pass(&mut transaction, collection, group, false).await?,
            };
        }
        logical::mark(&mut transaction, collection, written).await?;
        transaction.commit().await?;
        Ok(written)
    }

    /// What one statement can do: nothing is to be asked before it, or said after.
    async fn alone<'a, 'b>(&mut self, collection: &Collection, groups: &'b [Group<'a>]) -> Sql<Option<&'b Group<'a>>> {
        match groups {
            [group] if group.records.len() < SMALL && !has_namesakes(collection) => {
                let followed = logical::is_followed(&mut self.connection, collection).await?;
                Ok(Some(group).filter(|_| !followed))
            }
            _ => Ok(None),
        }
    }

    /// Makes the staging table of a group's fields, of the same types.
    async fn stage(&mut self, collection: &Collection, group: &Group<'_>) -> Sql<()> {
        let names: Vec<String> = group.columns.iter().map(|column| column.name().to_owned()).collect();
        if self.staged.contains_key(&names) {
            return Ok(());
        }
        let name = format!("tidelock_stage_{}", self.staged.len());
        let sql = format!(
            "CREATE TEMP TABLE {name} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA",
            list(names.iter().map(|name| quote(name))),
            collection.table.quoted()
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await?;
        self.staged.insert(names, format!("pg_temp.{name}"));
        Ok(())
    }
}

/// COPYs a group's records into a table; how many it took.
async fn copy_into(connection: &mut PgConnection, group: &Group<'_>, table: &str) -> Sql<u64> {
    let names = list(group.columns.iter().map(|column| quote(column.name())));
    let mut copy = connection.copy_in_raw(&format!("COPY {table} ({names}) FROM STDIN")).await?;
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
    for record in &group.records {
        copy::push_row(&mut piece, record.iter().map(|(_, value)| value));
        if piece.len() >= PIECE_BYTES {
            copy.send(piece.as_slice()).await?;
            piece.clear();
        }
    }
    copy.send(piece).await?;
    copy.finish().await
}

/// Whether a key column's type takes values for equal that have different texts.
fn has_namesakes(collection: &Collection) -> bool {
    collection.correlation.iter().any(|column| column.compare != Compare::Native)
}

/// Fails where a record's key equals that of another record by the type's own `=` (citext, collations) and has another text: the other would be
/// overwritten. `source` gives the rows as `u`, `keys` the key columns in it.
async fn keep_apart(
    connection: &mut PgConnection,
    collection: &Collection,
    (source, keys): (&str, &[String]),
    parameters: Vec<Column<'_>>,
) -> Sql<()> {
    if !has_namesakes(collection) {
        return Ok(());
    }
    let pairs = || collection.correlation.iter().zip(keys);
    let equal = all(pairs().map(|(column, key)| format!("{} = {key}", column.of("t"))));
    let same = all(pairs().map(|(column, key)| column.same(&column.of("t"), key)));
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {source} JOIN {} AS t ON {equal} WHERE NOT ({same}))",
        collection.table.quoted()
    );
    if query(sql, parameters).fetch_one(connection).await?.try_get(0)? {
        let names = list(collection.correlation.iter().map(|column| format!("\"{}\"", column.name())));
        let text = format!("another record has the same {names} in another spelling, which the column takes for equal");
        return Err(sqlx::Error::Encode(text.into()));
    }
    Ok(())
}

async fn copy_through(
    connection: &mut PgConnection,
    collection: &Collection,
    group: &Group<'_>,
    stage: &str,
) -> Sql<u64> {
    copy_into(connection, group, stage).await?;
    let keys: Vec<String> = collection.correlation.iter().map(|column| column.of("u")).collect();
    keep_apart(connection, collection, (&format!("{stage} AS u"), &keys), Vec::new()).await?;
    let rows = list(group.columns.iter().map(|column| column.of("u")));
    let sql = statement(collection, group, &rows, &format!("{stage} AS u"));
    Ok(sqlx::query(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

/// Passes a group's records as parameters; `alone`: outside of a transaction, so that the statement itself says what [`begin_sql`] says of one.
async fn pass(connection: &mut PgConnection, collection: &Collection, group: &Group<'_>, alone: bool) -> Sql<u64> {
    let rows = list(group.columns.iter().enumerate().map(|(index, column)| column.cast(&format!("u.c{index}"))));
    let settings = if alone { format!(" CROSS JOIN {}", settings_sql(collection)) } else { String::new() };
    let from = unnest(group.columns.len(), 1) + &settings;
    let sql = statement(collection, group, &rows, &from);
    let parameters = |columns: &[&PgColumn]| -> Vec<Column<'_>> {
        let values = |column: &&PgColumn| {
            group.records.iter().map(|record| record.get(column.name()).and_then(values::input)).collect()
        };
        columns.iter().map(values).collect()
    };
    let keys: Vec<&PgColumn> = collection.correlation.iter().collect();
    let casts: Vec<String> = keys.iter().enumerate().map(|(index, key)| key.cast(&format!("u.c{index}"))).collect();
    keep_apart(connection, collection, (&unnest(keys.len(), 1), &casts), parameters(&keys)).await?;
    let parameters = parameters(&group.columns);
    Ok(query(sql, parameters).execute(connection).await?.rows_affected())
}

/// Counts as affected what was inserted or changed, and nothing else.
fn statement(collection: &Collection, group: &Group<'_>, rows: &str, from: &str) -> String {
    let is_correlation = |column: &&&PgColumn| collection.correlation.iter().any(|other| other.name() == column.name());
    let set: Vec<&PgColumn> =
        group.columns.iter().filter(|column| !is_correlation(column) && !column.identity_always).copied().collect();
    let action = if set.is_empty() {
        "NOTHING".to_owned()
    } else {
        format!(
            "UPDATE SET {} WHERE NOT ({})",
            list(set.iter().map(|column| format!("{} = excluded.{}", quote(column.name()), quote(column.name())))),
            all(set.iter().map(|column| column.same(&column.of("t"), &column.of("excluded"))))
        )
    };
    format!(
        "INSERT INTO {} AS t ({}){} SELECT {rows} FROM {from} ON CONFLICT ({}) DO {action}",
        collection.table.quoted(),
        list(group.columns.iter().map(|column| quote(column.name()))),
        overriding(group.columns.iter().copied()),
        list(collection.correlation.iter().map(|column| quote(column.name()))),
    )
}
