//! What the end-to-end tests share: the real program on real databases, in a folder of their own. No sleeps: states are awaited.

pub mod proxy;
pub mod sandbox;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, Row};

/// How long a state is awaited before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database of a test.
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A database on the private server, dropped with this.
    Postgres {
        /// URL of the server's own database.
        admin: String,
        /// URL of this one.
        url: String,
        /// Its name.
        name: String,
    },
    /// A database on the private MariaDB or MySQL server, dropped with this.
    Mysql {
        /// URL of the server's own database.
        admin: String,
        /// URL of this one.
        url: String,
        /// Its name.
        name: String,
    },
}

/// Whether the private server is MariaDB's; else it is MySQL's own (`tests/run --mysql`).
pub fn is_mariadb() -> bool {
    let make = std::env::var("TIDELOCK_TEST_MYSQL_MAKE");
    make.expect("TIDELOCK_TEST_MYSQL_MAKE is not set: run the live tests through tests/run") == "MariaDB"
}

/// How a user's program speaks to MySQL in these tests: in standard SQL, in UTC, and as loosely as old ones do.
const MYSQL_SESSION: &str = "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', time_zone = '+00:00'";

impl Database {
    /// A new SQLite file.
    pub async fn sqlite(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let options = options.journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
        sqlx::SqliteConnection::connect_with(&options).await.unwrap().close().await.unwrap();
        Self::Sqlite(path)
    }

    /// A new database on the private PostgreSQL server that `tests/run` starts.
    pub async fn postgres() -> Self {
        let admin = std::env::var("TIDELOCK_TEST_POSTGRES").expect(
            "TIDELOCK_TEST_POSTGRES is not set: run the live tests through tests/run, which starts a private server",
        );
        let name = format!("tl_{}", unique());
        let mut connection = sqlx::PgConnection::connect(&admin).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        let (server, _) = admin.rsplit_once('/').unwrap();
        Self::Postgres { url: format!("{server}/{name}"), admin, name }
    }

    /// A new database on the private MariaDB or MySQL server that `tests/run` starts.
    pub async fn mysql() -> Self {
        let admin = std::env::var("TIDELOCK_TEST_MYSQL").expect(
            "TIDELOCK_TEST_MYSQL is not set: run the live tests through tests/run, which starts a private server",
        );
        let name = format!("tl_{}", unique());
        mysql_run(&admin, &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await.unwrap();
        let (server, _) = admin.rsplit_once('/').unwrap();
        Self::Mysql { url: format!("{server}/{name}"), admin, name }
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        let done = match self {
            Self::Sqlite(path) => {
                let mut connection = Self::sqlite_connection(path).await;
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map(drop);
                connection.close().await.unwrap();
                done
            }
            Self::Postgres { url, .. } => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map(drop);
                connection.close().await.unwrap();
                done
            }
            Self::Mysql { url, .. } => mysql_run(url, sql).await,
        };
        done.unwrap_or_else(|error| panic!("{error}\nin: {}", &sql[..sql.len().min(500)]));
    }

    async fn sqlite_connection(path: &Path) -> sqlx::SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(60));
        sqlx::SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// The rows of a query whose columns are all text (cast them); null is `None`.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Self::Sqlite(path) => {
                let mut connection = Self::sqlite_connection(path).await;
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
            }
            Self::Postgres { url, .. } => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
            }
            Self::Mysql { url, .. } => {
                let mut connection = mysql_connection(url).await;
                // MySQL casts to CHAR only.
                let sql = sql.replace(" AS TEXT)", " AS CHAR)");
                let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                let value = |row: &sqlx::mysql::MySqlRow, column| row.try_get_unchecked(column).unwrap();
                rows.iter().map(|row| (0..row.len()).map(|column| value(row, column)).collect()).collect()
            }
        }
    }

    /// The only value of a query, as text.
    pub async fn value(&self, sql: &str) -> Option<String> {
        self.rows(sql).await.into_iter().next().and_then(|row| row.into_iter().next().flatten())
    }

    /// Waits until the only value of a query is `expected`.
    pub async fn await_value(&self, sql: &str, expected: &str) {
        let begin = Instant::now();
        loop {
            let value = self.value(sql).await;
            if value.as_deref() == Some(expected) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{sql}: still {value:?}, expected {expected}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The endpoint of a configuration for a table of this database.
    pub fn endpoint(&self, name: &str, table: &str) -> Value {
        match self {
            Self::Sqlite(path) => serde_json::json!({"type": "sqlite", "name": name, "path": path, "table": table}),
            Self::Postgres { url, .. } => {
                serde_json::json!({"type": "postgres", "name": name, "url": url, "table": table})
            }
            Self::Mysql { url, .. } => serde_json::json!({"type": "mysql", "name": name, "url": url, "table": table}),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { admin, name, .. } = self {
            // The runtime of the test may be gone: a process of its own drops it.
            // A slot that is read holds its database.
            let readers = format!(
                "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE database = '{name}' AND active"
            );
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            let _dropped = Command::new("psql")
                .args(["-q", admin, "-c", &readers, "-c", &statement])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        if let Self::Mysql { admin, name, .. } = self {
            let (admin, statement) = (admin.clone(), format!("DROP DATABASE IF EXISTS {name}"));
            let dropping = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async { mysql_run(&admin, &statement).await.ok() })
            });
            let _dropped = dropping.join();
        }
    }
}

/// A connection of a user's program.
pub async fn mysql_connection(url: &str) -> sqlx::MySqlConnection {
    let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
    sqlx::raw_sql(MYSQL_SESSION).execute(&mut connection).await.unwrap();
    connection
}

async fn mysql_run(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = mysql_connection(url).await;
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.map(drop);
    connection.close().await?;
    done
}

/// An HTTP client. TLS needs to be told whose arithmetic it is to use, even where nothing is encrypted.
pub fn http() -> reqwest::Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A name that nothing else has.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{:x}_{:x}_{:x}", nanos, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The program, run in a folder of its own.
pub struct Tidelock {
    /// The folder: configuration, state, plugins.
    pub folder: tempfile::TempDir,
    /// How changes are found, where that is not said.
    pub detection: Option<&'static str>,
}

/// What a command came to.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// The JSON objects on standard output.
    pub lines: Vec<Value>,
    /// Standard error.
    pub errors: String,
}

impl Ran {
    /// The number of a key of the first line.
    pub fn number(&self, key: &str) -> u64 {
        self.lines[0][key].as_u64().unwrap_or_else(|| panic!("no number {key} in {}", self.lines[0]))
    }
}

impl Tidelock {
    /// A new folder.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), detection: None }
    }

    /// Writes the configuration.
    pub fn configure(&self, config: &Value) {
        let mut config = config.clone();
        if let Some(detection) = self.detection
            && config["performance_settings"]["change_detection"].is_null()
        {
            config["performance_settings"]["change_detection"] = detection.into();
        }
        std::fs::write(self.folder.path().join("sync.json"), serde_json::to_string_pretty(&config).unwrap()).unwrap();
    }

    /// The command line of the program, with the shared compile cache of the tests.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        command
    }

    /// Names of what the program left of its state.
    pub fn state_files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("tidelock")).collect()
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let stdout = String::from_utf8(stdout).unwrap();
        let lines = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ran { code: status.code().unwrap_or(-1), lines, errors: String::from_utf8_lossy(&stderr).into_owned() }
    }

    /// `run --once --json`, which must end with `code`.
    pub fn once(&self, code: i32) -> Ran {
        let ran = self.run(&["run", "sync.json", "--once", "--json"]);
        assert_eq!(ran.code, code, "{:?}\n{}", ran.lines, ran.errors);
        ran
    }

    /// `audit --json`, which must end with `code`.
    pub fn audit(&self, code: i32) -> Ran {
        let ran = self.run(&["audit", "sync.json", "--json"]);
        assert_eq!(ran.code, code, "{:?}\n{}", ran.lines, ran.errors);
        ran
    }

    /// Starts the service on a port of its own.
    pub fn serve(&self) -> Service {
        self.serve_in(&[])
    }

    /// The same, its command line handed to a wrapper that must become it (`exec`).
    pub fn serve_in(&self, wrapper: &[&str]) -> Service {
        let log = self.folder.path().join(format!("log_{}", unique()));
        let errors = std::fs::File::create(&log).unwrap();
        let plain = self.command(&["run", "sync.json", "--listen", "127.0.0.1:0", "--json"]);
        let words = wrapper.iter().map(std::ffi::OsStr::new).chain([plain.get_program()]).chain(plain.get_args());
        let words: Vec<_> = words.collect();
        let mut wrapped = Command::new(words[0]);
        wrapped.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        wrapped.current_dir(self.folder.path());
        wrapped.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Service { child: wrapped.spawn().unwrap(), log }
    }
}

/// A running service; killed when dropped.
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has resident now.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its address, awaited in its log.
    pub async fn address(&self) -> String {
        let begin = Instant::now();
        loop {
            for line in self.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                if let Some(address) = line["fields"]["address"].as_str() {
                    return address.to_owned();
                }
            }
            assert!(begin.elapsed() < PATIENCE, "no address in the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&self) {
        let url = format!("http://{}/readyz", self.address().await);
        let begin = Instant::now();
        loop {
            let body = match http().get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return,
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            assert!(begin.elapsed() < PATIENCE, "never ready: {body}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `/readyz` says 503 with a reason that holds `text`.
    pub async fn awaits_503(&self, text: &str) {
        let url = format!("http://{}/readyz", self.address().await);
        let begin = Instant::now();
        loop {
            let answer = http().get(&url).send().await.unwrap();
            let (code, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            if code == 503 && body.contains(text) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{code}, never \"{text}\": {body}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM) and waits; its exit code.
    pub fn stop(&mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}
