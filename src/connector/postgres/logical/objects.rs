//! The publication and the slot of a stream (layer 4): made, looked at and dropped. Both have one name, that of the pair and the table.
//!
//! A slot has no name of its incarnation: it stands in the publication's comment, which is written last. What was made half is made anew.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::super::collection::Collection;
use super::super::errors::{Class, Sql, class, sqlstate};
use super::super::marks;
use super::super::table::Table;
use super::super::tracking::{self, literal};
use crate::connector::change_log::quote;
use crate::error::{ErrorKind, Result, SyncError};

/// What messages about the configuration of the server or table are filed under.
const CODE: &str = "postgres.logical_replication";
/// The first version that tells who has written a transaction (`messages` of pgoutput).
const OLDEST: i32 = 140_000;
/// A slot begins where every transaction that runs has ended: it is not waited for longer than this.
const SLOT_TIMEOUT: &str = "30s";
const CANCELLED: &str = "57014";
/// How long a reader that was told to leave may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
const LEAVE_POLL: Duration = Duration::from_millis(20);
/// Part of the table's name that is shown; names of slots are limited to small letters, digits and `_`.
const SHOWN_BYTES: usize = 32;

/// The name of a consumer's slot and publication: at most 63 bytes, and nothing that needs quotes.
pub(super) fn name(server: &str, table: &Table, consumer: &str) -> String {
    let shown: String = table.name.chars().take(SHOWN_BYTES).map(plain).collect();
    let mut digest = Sha256::new();
    for part in [server, &table.schema, &table.name, consumer] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("tidelock_{shown}_{digest}")
}

fn plain(letter: char) -> char {
    if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' }
}

/// A slot as the server knows it.
pub(super) struct Slot {
    /// Everything committed before this was acknowledged.
    pub(super) confirmed: u64,
    /// The server process that reads it for somebody.
    pub(super) reader: Option<i32>,
    /// Whether the log that it needs is there.
    pub(super) intact: bool,
}

/// Looks a slot up.
pub(super) async fn slot(connection: &mut PgConnection, name: &str) -> Sql<Option<Slot>> {
    let sql = "SELECT (confirmed_flush_lsn - '0/0')::bigint, active_pid, coalesce(wal_status, '') NOT IN ('lost') \
               AND plugin = 'pgoutput' AND database = current_database() FROM pg_replication_slots WHERE slot_name = $1";
    let Some(row) = sqlx::query(sql).bind(name).fetch_optional(connection).await? else { return Ok(None) };
    let confirmed: Option<i64> = row.try_get(0)?;
    let confirmed = confirmed.and_then(|lsn| u64::try_from(lsn).ok()).unwrap_or_default();
    Ok(Some(Slot { confirmed, reader: row.try_get(1)?, intact: row.try_get(2)? }))
}

/// Has whoever reads the slot leave: an earlier connection of ours, whose end the server has not noticed.
pub(super) async fn vacate(connection: &mut PgConnection, name: &str) -> Sql<()> {
    let vacating = async {
        while let Some(Slot { reader: Some(pid), .. }) = slot(connection, name).await? {
            sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut *connection).await?;
            tokio::time::sleep(LEAVE_POLL).await;
        }
        Ok(())
    };
    tokio::time::timeout(LEAVE_TIMEOUT, vacating).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Makes what is missing. Returns the incarnation of the stream: it changes where something was.
pub(super) async fn prepare(connection: &mut PgConnection, collection: &Collection, name: &str) -> Result<String> {
    check_server(connection, collection).await?;
    check_identity(connection, collection).await?;
    let failed = |error| collection.place.failed("preparing logical replication", error);
    let (intact, said) = state(connection, collection, name).await.map_err(failed)?;
    if let (true, Some(incarnation)) = (intact, said) {
        return Ok(incarnation);
    }
    match make(connection, collection, name).await {
        Ok(incarnation) => Ok(incarnation),
        Err(error) => Err(explain(connection, collection, error).await),
    }
}

/// Whether publication and slot are as they were made, and the comment. A filter of rows or a list of columns, which somebody may have added,
/// is known from version 15 on.
async fn state(connection: &mut PgConnection, collection: &Collection, name: &str) -> Sql<(bool, Option<String>)> {
    let sql = "SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot \
           AND (SELECT array_agg(r.prrelid::bigint) FROM pg_publication_rel r WHERE r.prpubid = p.oid) = ARRAY[to_regclass($2)::oid::bigint] \
           AND NOT EXISTS (SELECT FROM pg_publication_rel r, jsonb_each_text(to_jsonb(r)) AS part (name, value) \
             WHERE r.prpubid = p.oid AND part.name IN ('prqual', 'prattrs') AND part.value IS NOT NULL), \
         obj_description(p.oid, 'pg_publication') FROM pg_publication p WHERE p.pubname = $1";
    let row = sqlx::query(sql).bind(name).bind(collection.table.quoted()).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok((false, None)) };
    let (published, said): (Option<bool>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let slot = slot(connection, name).await?.is_some_and(|slot| slot.intact);
    Ok((published.unwrap_or_default() && slot, said))
}

/// Whether the stream is still what was prepared.
pub(super) async fn is_intact(connection: &mut PgConnection, collection: &Collection, name: &str) -> Sql<bool> {
    state(connection, collection, name).await.map(|(intact, _)| intact)
}

async fn make(connection: &mut PgConnection, collection: &Collection, name: &str) -> Sql<String> {
    drop_both(connection, name).await?;
    // Where triggers found the changes before, nobody reads their change table any more.
    let mut transaction = connection.begin().await?;
    tracking::leave(&mut transaction, collection).await?;
    transaction.commit().await?;
    // Without ONLY the rows of tables that inherit from it would come along, under their own names.
    let publication = format!(
        "CREATE PUBLICATION {name} FOR TABLE ONLY {} WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)",
        collection.table.quoted()
    );
    run(connection, &publication).await?;
    let slot = format!(
        "BEGIN; SET LOCAL statement_timeout = '{SLOT_TIMEOUT}'; \
         SELECT pg_create_logical_replication_slot('{name}', 'pgoutput'); COMMIT"
    );
    if let Err(error) = run(connection, &slot).await {
        run(connection, "ROLLBACK").await?;
        return Err(error);
    }
    let incarnation: String =
        sqlx::query_scalar("SELECT 'slot:' || gen_random_uuid()::text").fetch_one(&mut *connection).await?;
    run(connection, &format!("COMMENT ON PUBLICATION {name} IS {}", literal(&incarnation))).await?;
    Ok(incarnation)
}

async fn run(connection: &mut PgConnection, sql: &str) -> Sql<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(|_| ())
}

/// Drops the slot and the publication, where they are.
pub(super) async fn drop_both(connection: &mut PgConnection, name: &str) -> Sql<()> {
    vacate(connection, name).await?;
    let slot = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1";
    sqlx::query(slot).bind(name).execute(&mut *connection).await?;
    run(connection, &format!("DROP PUBLICATION IF EXISTS {name}")).await
}

/// Takes everything away that was made for this consumer.
pub(super) async fn remove(connection: &mut PgConnection, collection: &Collection, name: &str) -> Sql<()> {
    drop_both(connection, name).await?;
    let mut transaction = connection.begin().await?;
    tracking::remove(&mut transaction, collection).await?;
    marks::drop_if_unused(&mut transaction, &collection.table).await?;
    transaction.commit().await
}

async fn check_server(connection: &mut PgConnection, collection: &Collection) -> Result<()> {
    let sql = "SELECT current_setting('wal_level'), current_setting('server_version_num')::int, pg_is_in_recovery()";
    let row = sqlx::query(sql).fetch_one(connection).await;
    let settings = row.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let (level, version, standby): (String, i32, bool) =
        settings.map_err(|error| collection.place.failed("preparing logical replication", error))?;
    let refused = |message: String| Err(collection.place.error(ErrorKind::SchemaMismatch, CODE, message));
    if version < OLDEST {
        return refused(format!(
            "\"logical_replication\" needs PostgreSQL {}; use \"database_triggers\"",
            OLDEST / 10_000
        ));
    }
    if standby {
        return refused("this server is a standby, where no publication can be made; name the primary".to_owned());
    }
    if level != "logical" {
        return refused(format!(
            "\"logical_replication\" needs wal_level = logical, and it is {level}: a superuser runs ALTER SYSTEM SET wal_level = logical \
             and restarts the server (a hosted database has a switch for it, e.g. rds.logical_replication); or use \"database_triggers\""
        ));
    }
    Ok(())
}

/// For each table that holds rows how its rows are named in the log, and by which columns.
const IDENTITY: &str = "SELECT c.oid::regclass::text, c.relreplident::text, \
       coalesce(array_agg(a.attname::text) FILTER (WHERE a.attname IS NOT NULL), '{}') \
     FROM (SELECT to_regclass($1)::oid AS oid UNION SELECT relid::oid FROM pg_partition_tree(to_regclass($1)) WHERE isleaf) t \
     JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'r' \
     LEFT JOIN pg_index i ON i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END \
     LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
     GROUP BY c.oid, c.relreplident ORDER BY 1";

/// A published table whose rows have no identity refuses every UPDATE and DELETE, the application's too: so this is asked before.
async fn check_identity(connection: &mut PgConnection, collection: &Collection) -> Result<()> {
    let failed = |error| collection.place.failed("asking for the replica identity", error);
    let rows = sqlx::query(IDENTITY).bind(collection.table.quoted()).fetch_all(connection).await.map_err(failed)?;
    for row in rows {
        let read = || -> Sql<(String, String, Vec<String>)> { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) };
        let (table, identity, columns) = read().map_err(failed)?;
        if identity == "f" || collection.table.key.iter().all(|name| columns.contains(name)) {
            continue;
        }
        let key = collection.table.key.join(", ");
        let message = format!(
            "the replica identity of {table} does not hold its key ({key}), so the log would not say which row was changed or deleted; \
             its owner runs ALTER TABLE {table} REPLICA IDENTITY USING INDEX … (a unique index of these columns), or REPLICA IDENTITY FULL"
        );
        return Err(collection.place.error(ErrorKind::SchemaMismatch, CODE, message));
    }
    Ok(())
}

/// Says what is missing, where something is.
async fn explain(connection: &mut PgConnection, collection: &Collection, error: sqlx::Error) -> SyncError {
    let doing = "preparing logical replication";
    if sqlstate(&error).as_deref() == Some(CANCELLED) {
        let message = format!(
            "{doing}: a transaction has been running for more than {SLOT_TIMEOUT}, and a slot can only begin once it has ended"
        );
        return collection.place.error(ErrorKind::Unavailable, "postgres.unavailable", message);
    }
    if class(&error) != Class::Permission {
        return collection.place.failed(doing, error);
    }
    let asked: Sql<(String, bool, bool, bool, String)> = sqlx::query_as(
        "SELECT current_user::text, rolreplication OR rolsuper, has_database_privilege(current_database(), 'CREATE'), \
           pg_has_role(c.relowner, 'USAGE'), current_database()::text \
         FROM pg_roles r, pg_class c WHERE r.rolname = current_user AND c.oid = to_regclass($1)",
    )
    .bind(collection.table.quoted())
    .fetch_one(connection)
    .await;
    let Ok((user, replicates, creates, owns, database)) = asked else { return collection.place.failed(doing, error) };
    let (user, table) = (quote(&user), collection.table.quoted());
    let missing: Vec<String> = [
        (creates, format!("GRANT CREATE ON DATABASE {} TO {user}", quote(&database))),
        (owns, format!("ALTER TABLE {table} OWNER TO {user} (or membership in the owner's role)")),
        (replicates, format!("ALTER ROLE {user} REPLICATION (a superuser runs it)")),
    ]
    .into_iter()
    .filter(|(has, _)| !has)
    .map(|(_, grant)| grant)
    .collect();
    if missing.is_empty() {
        return collection.place.failed(doing, error);
    }
    collection.place.error(
        ErrorKind::PermissionDenied,
        "postgres.permission_denied",
        format_args!("{doing}: user {user} needs {}", missing.join("; ")),
    )
}

/// Whether anybody reads a stream of the table, who has to know what we write.
pub(in super::super) async fn is_followed(connection: &mut PgConnection, collection: &Collection) -> Sql<bool> {
    match &collection.stream {
        Some(stream) => stream.is_followed(connection).await,
        None => Ok(false),
    }
}

/// What is to be said at the end of one of our transactions, under [`MARK`]: how many rows it has written, so that its own reader can leave it
/// out. Where the stream has more rows, a trigger has written too, and nothing is left out. A replication origin would need a superuser.
pub(in super::super) async fn said(
    connection: &mut PgConnection,
    collection: &Collection,
    rows: u64,
) -> Sql<Option<String>> {
    let Some(stream) = collection.stream.as_ref().filter(|_| rows > 0) else { return Ok(None) };
    let followed = is_followed(connection, collection).await?;
    Ok(followed.then(|| format!("{}:{rows}", stream.name())))
}

/// Says it.
pub(in super::super) async fn mark(connection: &mut PgConnection, collection: &Collection, rows: u64) -> Sql<()> {
    let Some(said) = said(connection, collection, rows).await? else { return Ok(()) };
    sqlx::query("SELECT pg_logical_emit_message(true, $1, $2)")
        .bind(MARK)
        .bind(said)
        .execute(connection)
        .await
        .map(|_| ())
}

/// What our marks begin with.
pub(in super::super) const MARK: &str = "tidelock";
