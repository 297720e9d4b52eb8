//! The tracking objects of a table (layer 4): change table, triggers, and who reads it. All in the table's own schema, all named
//! `tidelock_*`, made and dropped in one transaction under one lock of the database.

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::collection::Collection;
use super::errors::{Class, Sql, class};
use super::marks;
use super::table::Table;
use crate::connector::change_log::{all, list, quote, tracking_name};
use crate::error::{ErrorKind, SyncError};

/// The channel of every change table of a database; the payload says which one.
pub(super) const CHANNEL: &str = "tidelock";
/// Name of every advisory lock of ours: "tidelock" in ASCII.
const LOCK: i64 = 0x7469_6465_6c6f_636b;
/// `CREATE TRIGGER` waits for running transactions, and everybody waits behind it: not for longer than this.
const LOCK_TIMEOUT: &str = "10s";
const TRIGGERS: [&str; 3] = ["tidelock_track", "tidelock_notify", "tidelock_truncate"];

/// Names of a table's tracking objects, quoted where not said otherwise.
pub(super) struct Names {
    /// Change table without its schema, not quoted: what the other tables know it by.
    pub(super) stream: String,
    /// Change table.
    pub(super) changes: String,
    /// Who reads the change table.
    pub(super) consumers: String,
    /// The streams' incarnations.
    streams: String,
    track: String,
    notify: String,
}

impl Names {
    /// The names for a table.
    pub(super) fn of(table: &Table) -> Self {
        let stream = tracking_name("changes", &table.name);
        Self {
            changes: table.beside(&stream),
            consumers: table.beside("tidelock_consumers"),
            streams: table.beside("tidelock_streams"),
            track: table.beside(&tracking_name("track", &table.name)),
            notify: table.beside(&tracking_name("notify", &table.name)),
            stream,
        }
    }

    /// What [`prepare`] makes: the change table, the functions and triggers that fill it, and what all tables of the schema share.
    pub(super) fn all(&self, table: &Table) -> Vec<String> {
        let tables = [&self.changes, &self.consumers, &self.streams].map(|name| format!("table {name}"));
        let functions = [&self.track, &self.notify].map(|name| format!("function {name}()"));
        let triggers = TRIGGERS.map(|name| format!("trigger {name} on {}", table.quoted()));
        tables.into_iter().chain(functions).chain(triggers).collect()
    }

    /// What the notifications of this change table carry.
    pub(super) fn payload(&self) -> &str {
        &self.changes
    }
}

async fn lock(connection: &mut PgConnection) -> Sql<()> {
    sqlx::query("SELECT set_config('lock_timeout', $1, true), pg_advisory_xact_lock($2)")
        .bind(LOCK_TIMEOUT)
        .bind(LOCK)
        .execute(connection)
        .await
        .map(|_| ())
}

async fn run(connection: &mut PgConnection, sql: String) -> Sql<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
}

/// Makes what is missing and registers the consumer, inside the caller's transaction. Returns the registration's incarnation.
pub(super) async fn prepare(connection: &mut PgConnection, collection: &Collection) -> Sql<String> {
    let (table, names) = (&collection.table, Names::of(&collection.table));
    lock(connection).await?;
    if !exists(connection, &names.consumers).await? || !exists(connection, &names.streams).await? {
        run(connection, bookkeeping(&names)).await?;
    }
    if !exists(connection, &marks::table(table)).await? {
        run(connection, marks::definition(table)).await?;
    }
    let key = key_columns(collection);
    if !is_intact(connection, table, &names, &key).await? {
        run(connection, rebuild(collection, &names)).await?;
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO {} (change_table, key_columns) VALUES ($1, $2)",
            names.streams
        )))
        .bind(&names.stream)
        .bind(&key)
        .execute(&mut *connection)
        .await?;
        fire_always(connection, table).await?;
    }
    register(connection, &names, &collection.options.consumer).await
}

/// Makes the table of marks where it is missing.
pub(super) async fn make_marks(collection: &Collection) -> Sql<()> {
    let name = marks::table(&collection.table);
    let mut transaction = collection.pool.begin().await?;
    if !exists(&mut transaction, &name).await? {
        lock(&mut transaction).await?;
        run(&mut transaction, marks::definition(&collection.table)).await?;
    }
    transaction.commit().await
}

pub(super) async fn exists(connection: &mut PgConnection, relation: &str) -> Sql<bool> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(relation).fetch_one(connection).await
}

/// What a change table was made for. The number changes with the form of the tracking objects, which are then made anew.
fn key_columns(collection: &Collection) -> String {
    let columns =
        list(collection.key.iter().map(|column| format!("{} {}", quote(column.name()), column.tracked_type())));
    format!("2: {columns}")
}

/// Whether changes were recorded without a gap since the stream was made: else its positions are void.
async fn is_intact(connection: &mut PgConnection, table: &Table, names: &Names, key: &str) -> Sql<bool> {
    let sql = format!(
        "SELECT to_regclass($1) IS NOT NULL AND to_regprocedure($2) IS NOT NULL AND to_regprocedure($3) IS NOT NULL \
           AND EXISTS (SELECT FROM {} WHERE change_table = $4 AND key_columns = $5) \
           AND 3 = (SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass($6) AND tgname = ANY($7::text[]) AND tgenabled IN ('A', 'O'))",
        names.streams
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(&names.changes)
        .bind(format!("{}()", names.track))
        .bind(format!("{}()", names.notify))
        .bind(&names.stream)
        .bind(key)
        .bind(table.quoted())
        .bind(TRIGGERS)
        .fetch_one(connection)
        .await
}

/// Has the triggers fire for what logical replication applies, too. Only a table's owner may.
async fn fire_always(connection: &mut PgConnection, table: &Table) -> Sql<()> {
    let owns = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass($1)";
    if !sqlx::query_scalar::<_, bool>(owns).bind(table.quoted()).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let always = TRIGGERS.map(|trigger| format!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {trigger}", table.quoted()));
    run(connection, always.join("; ")).await
}

async fn register(connection: &mut PgConnection, names: &Names, consumer: &str) -> Sql<String> {
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO {} (change_table, consumer) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        names.consumers
    )))
    .bind(&names.stream)
    .bind(consumer)
    .execute(&mut *connection)
    .await?;
    let sql = format!("SELECT incarnation::text FROM {} WHERE change_table = $1 AND consumer = $2", names.consumers);
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(&names.stream).bind(consumer).fetch_one(connection).await
}

fn bookkeeping(names: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {streams} (change_table text PRIMARY KEY, key_columns text NOT NULL, \
           created_at timestamptz NOT NULL DEFAULT now()); \
         CREATE TABLE IF NOT EXISTS {consumers} (change_table text NOT NULL, consumer text NOT NULL, \
           incarnation uuid NOT NULL DEFAULT gen_random_uuid(), seen pg_snapshot NOT NULL DEFAULT pg_current_snapshot(), \
           until pg_snapshot, xid xid8, seq bigint, registered_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (change_table, consumer))",
        streams = names.streams,
        consumers = names.consumers,
    )
}

fn rebuild(collection: &Collection, names: &Names) -> String {
    let table = collection.table.quoted();
    let keys =
        list(collection.key.iter().enumerate().map(|(index, column)| format!("k{index} {}", column.tracked_type())));
    format!(
        "{dropped}; \
         CREATE TABLE {changes} (seq bigserial, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), op \"char\" NOT NULL, {keys}, \
           at timestamptz NOT NULL DEFAULT clock_timestamp(), origin text, PRIMARY KEY (xid, seq)); \
         {track}; {notify}; \
         CREATE TRIGGER tidelock_track AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {track_name}(); \
         CREATE TRIGGER tidelock_notify AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {notify_name}(); \
         CREATE TRIGGER tidelock_truncate AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {notify_name}()",
        dropped = dropped(names),
        changes = names.changes,
        track = track_function(collection, names),
        notify = notify_function(names),
        track_name = names.track,
        notify_name = names.notify,
    )
}

/// Runs with its owner's rights, so that applications need no grants on the change table.
fn track_function(collection: &Collection, names: &Names) -> String {
    let columns = list((0..collection.key.len()).map(|index| format!("k{index}")));
    let variables = |row: &str| list((0..collection.key.len()).map(|index| format!("{row}{index}")));
    let (old, new) = (variables("old_k"), variables("new_k"));
    let declared = |row: &str| -> String {
        let one = |index| format!("{row}{index} {}.k{index}%TYPE; ", names.changes);
        (0..collection.key.len()).map(one).collect()
    };
    let read = |row: &str, from: &str| -> String {
        collection.key.iter().enumerate().map(|(index, key)| format!("{row}{index} := {}; ", key.of(from))).collect()
    };
    // An application's write never fails for a key column that was renamed or changed: the stream says that it is lost. The block
    // around the reading writes nothing, so that it costs no transaction number.
    // Compares the bytes, of any type: a key type may have an `=` that is not on the search path.
    let body = format!(
        "DECLARE writer text; {declared_old}{declared_new} \
         BEGIN \
           IF pg_trigger_depth() = 1 THEN writer := nullif(current_setting('tidelock.origin', true), ''); END IF; \
           BEGIN \
             IF TG_OP <> 'INSERT' THEN {read_old} END IF; \
             IF TG_OP <> 'DELETE' THEN {read_new} END IF; \
           EXCEPTION WHEN OTHERS THEN \
             INSERT INTO {changes} (op) VALUES ('L'); \
             RETURN NULL; \
           END; \
           IF TG_OP = 'INSERT' THEN \
             INSERT INTO {changes} (op, {columns}, origin) VALUES ('U', {new}, writer); \
           ELSIF TG_OP = 'DELETE' THEN \
             INSERT INTO {changes} (op, {columns}, origin) VALUES ('D', {old}, writer); \
           ELSIF record_image_eq(ROW({old}), ROW({new})) THEN \
             INSERT INTO {changes} (op, {columns}, origin) VALUES ('U', {new}, writer); \
           ELSE \
             INSERT INTO {changes} (op, {columns}, origin) VALUES ('D', {old}, writer), ('U', {new}, writer); \
           END IF; \
           RETURN NULL; \
         END",
        declared_old = declared("old_k"),
        declared_new = declared("new_k"),
        read_old = read("old_k", "OLD"),
        read_new = read("new_k", "NEW"),
        changes = names.changes,
    );
    function(&names.track, &body)
}

/// Once a statement, so that a bulk load notifies once; a truncation leaves a row, for it fires no row trigger.
fn notify_function(names: &Names) -> String {
    let body = format!(
        "BEGIN \
           IF TG_OP = 'TRUNCATE' THEN INSERT INTO {changes} (op) VALUES ('T'); END IF; \
           PERFORM pg_notify('{CHANNEL}', {payload}); \
           RETURN NULL; \
         END",
        changes = names.changes,
        payload = literal(names.payload()),
    );
    function(&names.notify, &body)
}

fn function(name: &str, body: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp AS {}",
        literal(body)
    )
}

/// Quotes a text as an SQL literal (`standard_conforming_strings` is on).
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// With the functions go their triggers: unlike `DROP TRIGGER`, that asks for no ownership of the table.
fn dropped(names: &Names) -> String {
    format!(
        "DROP FUNCTION IF EXISTS {track}(), {notify}() CASCADE; DROP TABLE IF EXISTS {changes}; \
         DELETE FROM {streams} WHERE change_table = {stream}; DELETE FROM {consumers} WHERE change_table = {stream}",
        track = names.track,
        notify = names.notify,
        changes = names.changes,
        streams = names.streams,
        consumers = names.consumers,
        stream = literal(&names.stream),
    )
}

/// Unregisters the consumer and drops what nobody else uses, inside the caller's transaction.
pub(super) async fn remove(connection: &mut PgConnection, collection: &Collection) -> Sql<()> {
    let table = &collection.table;
    lock(connection).await?;
    if exists(connection, &marks::table(table)).await? {
        marks::forget_consumer(connection, collection).await?;
    }
    leave(connection, collection).await
}

/// Unregisters a consumer whose marks stay, and drops what nobody else uses, inside the caller's transaction.
pub(super) async fn leave(connection: &mut PgConnection, collection: &Collection) -> Sql<()> {
    let (table, names) = (&collection.table, Names::of(&collection.table));
    lock(connection).await?;
    if !exists(connection, &names.consumers).await? {
        return Ok(());
    }
    sqlx::query(AssertSqlSafe(format!("DELETE FROM {} WHERE change_table = $1 AND consumer = $2", names.consumers)))
        .bind(&names.stream)
        .bind(&collection.options.consumer)
        .execute(&mut *connection)
        .await?;
    let left = format!(
        "SELECT count(*) FILTER (WHERE change_table = $1) > 0 AS here, count(*) > 0 AS anywhere FROM {}",
        names.consumers
    );
    let row = sqlx::query(AssertSqlSafe(left)).bind(&names.stream).fetch_one(&mut *connection).await?;
    let (here, anywhere): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    if !here {
        run(connection, dropped(&names)).await?;
    }
    if !anywhere {
        run(connection, format!("DROP TABLE {}, {}", names.consumers, names.streams)).await?;
        marks::drop_if_empty(connection, table).await?;
    }
    Ok(())
}

/// Names the grant that is missing, where one is.
pub(super) async fn explain(connection: &mut PgConnection, collection: &Collection, error: sqlx::Error) -> SyncError {
    let doing = "preparing change tracking";
    if class(&error) != Class::Permission {
        return collection.place.failed(doing, error);
    }
    let table = &collection.table;
    let grants: Sql<(String, bool, bool)> = sqlx::query_as(
        "SELECT current_user::text, has_schema_privilege($1, 'CREATE'), has_table_privilege($2, 'TRIGGER')",
    )
    .bind(&table.schema)
    .bind(table.quoted())
    .fetch_one(connection)
    .await;
    let Ok((user, create, trigger)) = grants else { return collection.place.failed(doing, error) };
    let mut missing = Vec::new();
    if !create {
        missing.push(format!("GRANT CREATE ON SCHEMA {} TO {}", quote(&table.schema), quote(&user)));
    }
    if !trigger {
        missing.push(format!("GRANT TRIGGER ON {} TO {}", table.quoted(), quote(&user)));
    }
    if missing.is_empty() {
        return collection.place.failed(doing, error);
    }
    collection.place.error(
        ErrorKind::PermissionDenied,
        "postgres.permission_denied",
        format_args!("{doing}: user {user} needs {}", all(missing)),
    )
}
