//! Guarded writes (layer 4): one transaction per batch, one statement per step of its [`Plan`].
//!
//! The first try goes without savepoints. Where the server refuses a value, the transaction is begun again and each step runs
//! under a savepoint and is halved until only the guilty record is left out.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::collection::{Collection, Column, columns_of, matching, query, unnest};
use super::errors::{Class, Sql, class};
use super::logical;
use super::plan::{Item, Plan, Step};
use super::table::PgColumn;
use super::tracking::literal;
use super::{creates, marks, values};
use crate::connector::change_log::{all, list, quote};
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Record};

/// Batches of fewer records are not worth a COPY, and go as parameters.
pub(super) const SMALL: usize = 50;
/// How often a transaction that lost a deadlock or a race is begun again.
const TRIES_MAX: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Makes the batch begin again and be halved, as a refused value does.
const AMBIGUOUS: sqlx::Error = sqlx::Error::RowNotFound;

/// Outcomes of a batch so far, by index.
type Outcomes = Vec<Option<WriteOutcome>>;

/// Writes a batch: see `Target::write`.
pub(super) async fn write(
    collection: &Collection,
    writes: &[Write],
    mark: Option<Mark<'_>>,
) -> Result<Vec<WriteOutcome>> {
    let plan = Plan::of(collection, writes)?;
    let mark = if mark.is_some() && marks::ensure(collection).await? { mark } else { None };
    let (mut careful, mut tries) = (false, 1);
    let outcomes = loop {
        match attempt(collection, &plan, (writes, mark), careful).await {
            Ok(outcomes) => break outcomes,
            Err(error) => match class(&error) {
                Class::Data if !careful => careful = true,
                Class::Contention if tries < TRIES_MAX => {
                    tokio::time::sleep(RETRY_DELAY * tries).await;
                    tries += 1;
                }
                Class::Unavailable
                | Class::Unauthenticated
                | Class::Permission
                | Class::ReadOnly
                | Class::NoDatabase
                | Class::Schema
                | Class::Data
                | Class::Contention
                | Class::Other => return Err(collection.place.failed("writing", error)),
            },
        }
    };
    let missing = || collection.place.error(ErrorKind::Internal, "internal", "a write was left without an outcome");
    outcomes.into_iter().map(|outcome| outcome.ok_or_else(missing)).collect()
}

/// Whether a transaction of so many records is seen by others before it is on disk, which is waited for afterwards (see [`reach_disk`]): the
/// same time goes by for us, and less for whoever waits for a single change.
const fn is_seen_early(records: usize) -> bool {
    records < SMALL
}

/// The statements that begin a transaction whose changes carry the consumer as their origin.
pub(super) fn begin_sql(collection: &Collection, early: bool) -> String {
    let early = if early { "; SET LOCAL synchronous_commit = off" } else { "" };
    format!("BEGIN; SET LOCAL tidelock.origin = {}{early}", literal(&collection.options.consumer))
}

/// The same for a statement that is a transaction by itself and seen early: an item of FROM with one row. The functions are volatile, so the
/// planner keeps them; and they are called before the first row is written, which is joined with theirs.
pub(super) fn settings_sql(collection: &Collection) -> String {
    let origin = literal(&collection.options.consumer);
    format!(
        "(SELECT set_config('tidelock.origin', {origin}, true), set_config('synchronous_commit', 'off', true)) AS settings"
    )
}

/// Waits until what was committed before is on disk, and on the standbys that the server waits for: a commit that is waited for takes all before
/// it along. Until then nobody may count on it.
pub(super) async fn reach_disk(connection: &mut PgConnection) -> Sql<()> {
    sqlx::query("SELECT pg_logical_emit_message(true, 'tidelock', '')").execute(connection).await.map(|_| ())
}

async fn attempt(
    collection: &Collection,
    plan: &Plan<'_>,
    (writes, mark): (&[Write], Option<Mark<'_>>),
    careful: bool,
) -> Sql<Outcomes> {
    let mut outcomes: Outcomes = writes.iter().map(|_| None).collect();
    for item in &plan.impossible {
        settle(&mut outcomes, item.index, WriteOutcome::Failed(unfit(collection, item.write)));
    }
    for item in &plan.stale {
        settle(&mut outcomes, item.index, WriteOutcome::Changed);
    }
    if plan.steps.is_empty() {
        return Ok(outcomes);
    }
    let early = is_seen_early(writes.len());
    let mut connection = collection.pool.acquire().await?;
    let mut transaction = connection.begin_with(AssertSqlSafe(begin_sql(collection, early))).await?;
    let mut rows = 0;
    for (step, items) in &plan.steps {
        rows += if careful {
            halve(&mut transaction, collection, step, items, &mut outcomes).await?
        } else {
            take(&mut transaction, collection, step, items, &mut outcomes).await?
        };
    }
    match mark {
        Some(mark) => {
            let said = logical::said(&mut transaction, collection, rows).await?;
            marks::keep(&mut transaction, collection, mark, (writes, &outcomes), said).await?;
        }
        None => logical::mark(&mut transaction, collection, rows).await?,
    }
    transaction.commit().await?;
    if early && (rows > 0 || mark.is_some()) {
        reach_disk(&mut connection).await?;
    }
    Ok(outcomes)
}

fn settle(outcomes: &mut Outcomes, index: usize, outcome: WriteOutcome) {
    if let Some(slot) = outcomes.get_mut(index) {
        *slot = Some(outcome);
    }
}

fn unfit(collection: &Collection, write: &Write) -> crate::error::SyncError {
    let record = key_of(collection, write).map_or_else(|| "a new record".to_owned(), |key| format!("record {key}"));
    let unfit = fields_of(write).and_then(|record| collection.table.unfit(record));
    let (code, what) = unfit.map_or(("internal", String::new()), |unfit| (unfit.code, unfit.to_string()));
    collection.place.error(ErrorKind::InvalidRecord, code, format_args!("writing {record}: {what}"))
}

fn key_of(collection: &Collection, write: &Write) -> Option<Key> {
    match write {
        Write::Create { record } => record.key(&collection.table.key),
        Write::Update { key, .. } | Write::Delete { key, .. } => Some(key.clone()),
    }
}

/// Takes a step, and where a value is refused takes it in halves, so that only the guilty records fail. Returns how many rows it wrote.
async fn halve(
    connection: &mut PgConnection,
    collection: &Collection,
    step: &Step,
    items: &[Item<'_>],
    outcomes: &mut Outcomes,
) -> Sql<u64> {
    let (mut waiting, mut rows) = (vec![items], 0);
    while let Some(part) = waiting.pop() {
        savepoint(connection, "SAVEPOINT tidelock_part").await?;
        match take(connection, collection, step, part, outcomes).await {
            Ok(written) => {
                savepoint(connection, "RELEASE SAVEPOINT tidelock_part").await?;
                rows += written;
            }
            Err(error) if class(&error) == Class::Data => {
                savepoint(connection, "ROLLBACK TO SAVEPOINT tidelock_part; RELEASE SAVEPOINT tidelock_part").await?;
                if let [guilty] = part {
                    let refused =
                        collection.place.refused("writing", key_of(collection, guilty.write).as_ref(), &error);
                    settle(outcomes, guilty.index, WriteOutcome::Failed(refused));
                } else {
                    let (first, second) = part.split_at(part.len() / 2);
                    waiting.extend([second, first]);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

async fn savepoint(connection: &mut PgConnection, sql: &'static str) -> Sql<()> {
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

/// Takes a step; how many rows it wrote.
async fn take(
    connection: &mut PgConnection,
    collection: &Collection,
    step: &Step,
    items: &[Item<'_>],
    outcomes: &mut Outcomes,
) -> Sql<u64> {
    match step {
        Step::Delete { guard } => delete(connection, collection, guard.as_deref(), items, outcomes).await,
        Step::Update { set, guard } => {
            let fields =
                Fields { set: pick(collection, set), guard: pick(collection, guard.as_deref().unwrap_or_default()) };
            update(connection, collection, &fields, items, outcomes).await
        }
        Step::Create { set } => create(connection, collection, &pick(collection, set), items, outcomes).await,
        Step::CreateGenerated { set } => create_generated(connection, collection, Some(set), items, outcomes).await,
        Step::CreateEach => create_generated(connection, collection, None, items, outcomes).await,
    }
}

/// The columns of an update.
struct Fields<'a> {
    set: Vec<&'a PgColumn>,
    guard: Vec<&'a PgColumn>,
}

fn pick<'a>(collection: &'a Collection, indexes: &[usize]) -> Vec<&'a PgColumn> {
    indexes.iter().filter_map(|index| collection.table.columns.get(*index)).collect()
}

fn column<'a>(records: impl Iterator<Item = Option<&'a Record>>, name: &str) -> Column<'a> {
    records.map(|record| record.and_then(|record| record.get(name)).and_then(values::input)).collect()
}

fn keys<'a>(collection: &Collection, items: &[Item<'a>]) -> Vec<Column<'a>> {
    let keys: Vec<&'a Key> = items
        .iter()
        .filter_map(|item| match item.write {
            Write::Update { key, .. } | Write::Delete { key, .. } => Some(key),
            Write::Create { .. } => None,
        })
        .collect();
    columns_of(keys.into_iter(), collection.key.len())
}

fn guard_of(write: &Write) -> Option<&Record> {
    match write {
        Write::Update { guard, .. } | Write::Delete { guard, .. } => guard.as_ref(),
        Write::Create { .. } => None,
    }
}

fn fields_of(write: &Write) -> Option<&Record> {
    match write {
        Write::Update { fields, .. } => Some(fields),
        Write::Create { record } => Some(record),
        Write::Delete { .. } => None,
    }
}

/// ` AND t.a is what u.c3 says …`, for guard columns that begin at `first` in `u`.
fn guarded(columns: &[&PgColumn], first: usize) -> String {
    let same = |(index, column): (usize, &&PgColumn)| {
        column.same(&column.of("t"), &column.cast(&format!("u.c{}", first + index)))
    };
    columns.iter().enumerate().map(same).map(|condition| format!(" AND {condition}")).collect()
}

/// The number that a row carries of the item it belongs to.
fn item_of<'a, 'b>(row: &PgRow, items: &'b [Item<'a>]) -> Sql<Option<&'b Item<'a>>> {
    let ord: i64 = row.try_get(0)?;
    Ok(usize::try_from(ord - 1).ok().and_then(|index| items.get(index)))
}

async fn update(
    connection: &mut PgConnection,
    collection: &Collection,
    fields: &Fields<'_>,
    items: &[Item<'_>],
    outcomes: &mut Outcomes,
) -> Sql<u64> {
    let width = collection.key.len();
    let first_guard = width + fields.set.len();
    let from = unnest(first_guard + fields.guard.len(), 1);
    let condition = format!("{}{}", matching(&collection.key), guarded(&fields.guard, first_guard));
    let (table, texts) = (collection.table.quoted(), collection.texts("t"));
    let set = list(fields.set.iter().enumerate().map(|(index, column)| {
        format!("{} = {}", quote(column.name()), column.cast(&format!("u.c{}", width + index)))
    }));
    let sql = if fields.set.is_empty() {
        format!("SELECT u.ord, {texts} FROM {from} JOIN {table} AS t ON {condition} FOR UPDATE OF t")
    } else {
        format!("UPDATE {table} AS t SET {set} FROM {from} WHERE {condition} RETURNING u.ord, {texts}")
    };
    let mut parameters = keys(collection, items);
    parameters
        .extend(fields.set.iter().map(|field| column(items.iter().map(|item| fields_of(item.write)), field.name())));
    parameters
        .extend(fields.guard.iter().map(|field| column(items.iter().map(|item| guard_of(item.write)), field.name())));
    let rows = query(sql, parameters).fetch_all(connection).await?;
    for item in items {
        settle(outcomes, item.index, WriteOutcome::Changed);
    }
    for row in &rows {
        if let Some(item) = item_of(row, items)? {
            settle(outcomes, item.index, applied(collection, collection.record(row, 1)?)?);
        }
    }
    Ok(if fields.set.is_empty() { 0 } else { count(rows.len()) })
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn applied(collection: &Collection, stored: Record) -> Sql<WriteOutcome> {
    let key = collection.key_of(&stored).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(WriteOutcome::Applied { key, stored: Some(stored) })
}

async fn delete(
    connection: &mut PgConnection,
    collection: &Collection,
    guard: Option<&[usize]>,
    items: &[Item<'_>],
    outcomes: &mut Outcomes,
) -> Sql<u64> {
    let width = collection.key.len();
    let guard_columns = pick(collection, guard.unwrap_or_default());
    let sql = format!(
        "DELETE FROM {} AS t USING {} WHERE {}{}",
        collection.table.quoted(),
        unnest(width + guard_columns.len(), 1),
        matching(&collection.key),
        guarded(&guard_columns, width)
    );
    let mut parameters = keys(collection, items);
    parameters
        .extend(guard_columns.iter().map(|field| column(items.iter().map(|item| guard_of(item.write)), field.name())));
    let rows = query(sql, parameters).execute(&mut *connection).await?.rows_affected();
    for item in items {
        if let Some(key) = key_of(collection, item.write) {
            settle(outcomes, item.index, WriteOutcome::Applied { key, stored: None });
        }
    }
    if guard_columns.is_empty() {
        return Ok(rows);
    }
    // What is still there was not as assumed.
    let left = format!(
        "SELECT u.ord FROM {} JOIN {} AS t ON {}",
        unnest(width, 1),
        collection.table.quoted(),
        matching(&collection.key)
    );
    for row in &query(left, keys(collection, items)).fetch_all(connection).await? {
        if let Some(item) = item_of(row, items)? {
            settle(outcomes, item.index, WriteOutcome::Changed);
        }
    }
    Ok(rows)
}

async fn create(
    connection: &mut PgConnection,
    collection: &Collection,
    columns: &[&PgColumn],
    items: &[Item<'_>],
    outcomes: &mut Outcomes,
) -> Sql<u64> {
    let records: Vec<&Record> = items.iter().filter_map(|item| fields_of(item.write)).collect();
    let stored = creates::insert_all(connection, collection, columns, &records).await?;
    let mut by_key: std::collections::HashMap<Key, usize> = std::collections::HashMap::with_capacity(items.len());
    for item in items {
        settle(outcomes, item.index, WriteOutcome::Changed);
        if let Some(key) = key_of(collection, item.write) {
            by_key.insert(key, item.index);
        }
    }
    let rows = count(stored.len());
    for record in stored {
        let index = match (items, collection.key_of(&record)) {
            ([only], _) => only.index,
            // A trigger or the column's type changed the key: whose record it is can be told only where there is but one.
            (_, key) => key.ok().and_then(|key| by_key.remove(&key)).ok_or(AMBIGUOUS)?,
        };
        settle(outcomes, index, applied(collection, record)?);
    }
    Ok(rows)
}

/// Inserts records whose key the server makes.
async fn create_generated(
    connection: &mut PgConnection,
    collection: &Collection,
    set: Option<&[usize]>,
    items: &[Item<'_>],
    outcomes: &mut Outcomes,
) -> Sql<u64> {
    let creates: Vec<(usize, &Record)> =
        items.iter().filter_map(|item| Some((item.index, fields_of(item.write)?))).collect();
    // Rows without any value cannot be told from each other in one statement.
    if let (Some(set @ [_, ..]), 2..) = (set, creates.len()) {
        let records: Vec<&Record> = creates.iter().map(|(_, record)| *record).collect();
        for (index, _) in &creates {
            settle(outcomes, *index, WriteOutcome::Changed);
        }
        let made = creates::insert_generated(connection, collection, &pick(collection, set), &records).await?;
        let rows = count(made.len());
        for (ord, stored) in made {
            let place = ord.and_then(|ord| usize::try_from(ord - 1).ok());
            let index = place.and_then(|place| creates.get(place)).ok_or(AMBIGUOUS)?.0;
            settle(outcomes, index, applied(collection, stored)?);
        }
        return Ok(rows);
    }
    let mut rows = 0;
    for (index, record) in creates {
        let stored = creates::insert(connection, collection, record).await?;
        rows += u64::from(stored.is_some());
        let outcome = stored.map_or(Ok(WriteOutcome::Changed), |stored| applied(collection, stored))?;
        settle(outcomes, index, outcome);
    }
    Ok(rows)
}

/// Deletes by correlation values, without a guard.
pub(super) async fn delete_by_correlation(collection: &Collection, values: &[Key]) -> Result<u64> {
    let columns = &collection.correlation;
    let sql = format!(
        "DELETE FROM {} AS t USING {} WHERE {}",
        collection.table.quoted(),
        unnest(columns.len(), 1),
        all([matching(columns)])
    );
    let mut tries = 1;
    loop {
        let parameters = columns_of(values.iter(), columns.len());
        match delete_once(collection, sql.clone(), parameters).await {
            Ok(count) => return Ok(count),
            Err(error) if class(&error) == Class::Contention && tries < TRIES_MAX => {
                tokio::time::sleep(RETRY_DELAY * tries).await;
                tries += 1;
            }
            Err(error) => return Err(collection.place.failed("deleting", error)),
        }
    }
}

async fn delete_once(collection: &Collection, sql: String, parameters: Vec<Column<'_>>) -> Sql<u64> {
    let mut transaction = collection.pool.begin_with(AssertSqlSafe(begin_sql(collection, false))).await?;
    let done = query(sql, parameters).execute(&mut *transaction).await?;
    logical::mark(&mut transaction, collection, done.rows_affected()).await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}
