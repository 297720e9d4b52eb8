//! The databases of a bench, and what they can do by themselves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection};

pub(crate) const COLUMNS: &str = "id, email, name, phone, city, balance, updated_at";
pub(crate) const TABLE: &str = "(id INTEGER PRIMARY KEY, email VARCHAR(80) UNIQUE, name VARCHAR(80), phone VARCHAR(40), city VARCHAR(40), \
                     balance NUMERIC(12,2), updated_at TIMESTAMP)";
/// Rows in a transaction of the plain loop: as many as tidelock writes at a time.
const LOOP_BATCH: u32 = 5_000;
const NAMES: [&str; 2] = ["tl_bench_source", "tl_bench_target"];

pub(crate) struct Systems {
    pub(crate) rows: u32,
    folder: tempfile::TempDir,
    admin: String,
    /// Of both databases.
    pub(crate) postgres: [String; 2],
    /// Of the administrator and of the target database.
    mysql: [String; 2],
}

pub(crate) fn row(n: u32) -> String {
    let phone = 200 + n % 700;
    format!(
        "{n}\tuser{n}@example.com\tuser NUMBER {n}\t+1 (650) {phone:03}-{:04}\tCity {}\t{}.{:02}\t2026-01-01 00:00:{:02}",
        n % 10_000,
        n % 500,
        n % 9_999,
        n % 100,
        n % 60
    )
}

pub(crate) async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

async fn execute_mysql(url: &str, sql: &str) {
    let mut connection = MySqlConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

async fn open_sqlite(path: &Path) -> SqliteConnection {
    let options =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn remove_sqlite(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _gone = std::fs::remove_file(PathBuf::from(name));
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("run this through tests/run --bench, which starts private servers")
}

fn database(admin: &str, name: &str) -> String {
    format!("{}/{name}", admin.rsplit_once('/').unwrap().0)
}

impl Systems {
    /// Databases of our own; the source has `rows` rows in PostgreSQL and in SQLite, and as a file that MariaDB may read.
    pub(crate) async fn new(rows: u32) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let (admin, mysql) = (variable("TIDELOCK_TEST_POSTGRES"), variable("TIDELOCK_TEST_MYSQL"));
        let postgres = NAMES.map(|name| database(&admin, name));
        let mysql = [mysql.clone(), database(&mysql, NAMES[1])];
        let systems = Self { rows, folder: tempfile::tempdir().unwrap(), admin, postgres, mysql };
        for name in NAMES {
            execute(&systems.admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            execute(&systems.admin, &format!("CREATE DATABASE {name}")).await;
        }
        execute_mysql(&systems.mysql[0], &format!("DROP DATABASE IF EXISTS {0}; CREATE DATABASE {0}", NAMES[1])).await;
        execute(&systems.postgres[0], &format!("CREATE TABLE customers {TABLE}")).await;
        let mut connection = PgConnection::connect(&systems.postgres[0]).await.unwrap();
        let mut copy = connection.copy_in_raw(&format!("COPY customers ({COLUMNS}) FROM STDIN")).await.unwrap();
        let mut file = String::new();
        for part in (1..=rows).collect::<Vec<_>>().chunks(1_000) {
            let mut text = String::new();
            part.iter().for_each(|n| writeln!(text, "{}", row(*n)).unwrap());
            copy.send(text.as_bytes()).await.unwrap();
            file += &text;
        }
        copy.finish().await.unwrap();
        std::fs::write(systems.text(), file).unwrap();
        std::fs::set_permissions(systems.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
        systems.fill_sqlite(&systems.sqlite_source(), "customers").await;
        systems
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn text(&self) -> PathBuf {
        self.folder().join("rows.tsv")
    }

    fn sqlite_source(&self) -> PathBuf {
        self.folder().join("source.db")
    }

    fn sqlite_target(&self) -> PathBuf {
        self.folder().join("target.db")
    }

    /// The endpoint of a database's table.
    pub(crate) fn endpoint(&self, system_type: &str, source: bool) -> Value {
        let table = if source { "customers" } else { "clients" };
        match system_type {
            "postgres" => json!({"type": "postgres", "url": self.postgres[usize::from(!source)], "table": table}),
            "mysql" => json!({"type": "mysql", "url": self.mysql[1], "table": table}),
            _ => {
                let path = if source { self.sqlite_source() } else { self.sqlite_target() };
                json!({"type": "sqlite", "path": path, "table": table})
            }
        }
    }

    /// Makes empty targets; tracking objects of earlier rounds would log what the next one does.
    pub(crate) async fn empty_targets(&self) {
        let table = format!("DROP TABLE IF EXISTS clients; CREATE TABLE clients {TABLE}");
        execute(&self.postgres[1], &table).await;
        execute_mysql(&self.mysql[1], &table).await;
        remove_sqlite(&self.sqlite_target());
        let mut connection = open_sqlite(&self.sqlite_target()).await;
        sqlx::raw_sql(AssertSqlSafe(table)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One `COPY` pipe from table to table, through this process: binary, as the servers' own tools do it.
    pub(crate) async fn copy_pipe(&self, table: &str) -> f64 {
        use futures_util::TryStreamExt;
        let mut from = PgConnection::connect(&self.postgres[0]).await.unwrap();
        let mut to = PgConnection::connect(&self.postgres[1]).await.unwrap();
        let began = Instant::now();
        let out = format!("COPY customers ({COLUMNS}) TO STDOUT (FORMAT binary)");
        let mut out = from.copy_out_raw(&out).await.unwrap();
        let into = format!("COPY {table} ({COLUMNS}) FROM STDIN (FORMAT binary)");
        let mut into = to.copy_in_raw(&into).await.unwrap();
        while let Some(chunk) = out.try_next().await.unwrap() {
            into.send(chunk).await.unwrap();
        }
        into.finish().await.unwrap();
        began.elapsed().as_secs_f64()
    }

    /// Reads a table of both databases with `COPY`, one after the other.
    pub(crate) async fn copy_out_both(&self) -> f64 {
        use futures_util::TryStreamExt;
        let began = Instant::now();
        for (url, table) in self.postgres.iter().zip(["customers", "clients"]) {
            let mut from = PgConnection::connect(url).await.unwrap();
            let sql = format!("COPY {table} ({COLUMNS}) TO STDOUT");
            let mut out = from.copy_out_raw(&sql).await.unwrap();
            while out.try_next().await.unwrap().is_some() {}
        }
        began.elapsed().as_secs_f64()
    }

    /// `LOAD DATA` of a file.
    pub(crate) async fn load_data(&self) -> f64 {
        let began = Instant::now();
        let sql = format!("LOAD DATA INFILE '{}' INTO TABLE clients ({COLUMNS})", self.text().display());
        execute_mysql(&self.mysql[1], &sql).await;
        began.elapsed().as_secs_f64()
    }

    /// A plain loop over a prepared statement.
    pub(crate) async fn sqlite_loop(&self) -> f64 {
        let began = Instant::now();
        self.fill_sqlite(&self.folder().join("loop.db"), "clients").await;
        began.elapsed().as_secs_f64()
    }

    async fn fill_sqlite(&self, path: &Path, table: &str) {
        remove_sqlite(path);
        let mut connection = open_sqlite(path).await;
        let create = format!("CREATE TABLE {table} {TABLE}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        for first in (1..=self.rows).step_by(LOOP_BATCH as usize) {
            let mut transaction = connection.begin().await.unwrap();
            for n in first..=self.rows.min(first + LOOP_BATCH - 1) {
                let text = row(n);
                let sql = format!("INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)");
                let mut query = sqlx::query(AssertSqlSafe(sql)).bind(n);
                for field in text.split('\t').skip(1) {
                    query = query.bind(field.to_owned());
                }
                query.execute(&mut *transaction).await.unwrap();
            }
            transaction.commit().await.unwrap();
        }
        connection.close().await.unwrap();
    }

    pub(crate) async fn remove(self) {
        for name in NAMES {
            execute(&self.admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
        execute_mysql(&self.mysql[0], &format!("DROP DATABASE {}", NAMES[1])).await;
    }
}
