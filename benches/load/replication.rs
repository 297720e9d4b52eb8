//! PostgreSQL's own logical replication between the two databases: what a change stream is held against.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use crate::systems::{Systems, TABLE, execute};

/// Replicates `customers` to a table of the same name in the target, which begins equal.
pub(crate) async fn start(systems: &Systems) {
    let [source, target] = &systems.postgres;
    execute(target, &format!("DROP TABLE IF EXISTS customers; CREATE TABLE customers {TABLE}")).await;
    systems.copy_pipe("customers").await;
    execute(source, "CREATE PUBLICATION native FOR TABLE customers").await;
    execute(source, "SELECT pg_create_logical_replication_slot('tl_bench_native', 'pgoutput')").await;
    // The slot is made apart: within one cluster the command would wait for its own transaction.
    let subscribe = format!(
        "CREATE SUBSCRIPTION native CONNECTION '{source}' PUBLICATION native \
         WITH (create_slot = false, slot_name = 'tl_bench_native', copy_data = false, enabled = false)"
    );
    execute(target, &subscribe).await;
}

pub(crate) async fn enable(systems: &Systems, enabled: bool) {
    let word = if enabled { "ENABLE" } else { "DISABLE" };
    execute(&systems.postgres[1], &format!("ALTER SUBSCRIPTION native {word}")).await;
}

pub(crate) async fn stop(systems: &Systems) {
    let [source, target] = &systems.postgres;
    execute(target, "ALTER SUBSCRIPTION native DISABLE").await;
    execute(target, "ALTER SUBSCRIPTION native SET (slot_name = NONE)").await;
    execute(target, "DROP SUBSCRIPTION native").await;
    let drop = "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'tl_bench_native' AND active) LOOP \
                PERFORM pg_sleep(0.05); END LOOP; PERFORM pg_drop_replication_slot('tl_bench_native'); END $$";
    execute(source, drop).await;
    execute(source, "DROP PUBLICATION native").await;
}

/// Waits until a row of a target's table has this city; looks each time that long after it looked before.
pub(crate) async fn until_there(connection: &mut PgConnection, (table, look): (&str, Duration), id: u32, city: &str) {
    let sql = format!("SELECT EXISTS (SELECT FROM {table} WHERE id = {id} AND city = $1)");
    loop {
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.clone())).bind(city);
        if query.fetch_one(&mut *connection).await.unwrap() {
            return;
        }
        tokio::time::sleep(look).await;
    }
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}
