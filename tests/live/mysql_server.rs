//! A MariaDB or MySQL server of a test's own, next to the one that all share: to restart, to kill, and to do away with its log.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, Row};

use crate::harness::is_mariadb;

/// A server of the test's own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    password: String,
    settings: Vec<String>,
    server: Option<Child>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the live tests through tests/run"))
}

/// A program, as the user that may run the server.
fn program(path: &str) -> Command {
    match variable("TIDELOCK_TEST_MYSQL_USER").as_str() {
        "" => Command::new(path),
        user => {
            let group = Command::new("id").args(["-g", user]).output().unwrap().stdout;
            let group = String::from_utf8(group).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", group.trim(), "--init-groups", "--"]).arg(path);
            command
        }
    }
}

impl Server {
    /// One with more settings, and with files in its folder that only it may read.
    pub(crate) async fn with(settings: &[&str], files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pristine = PathBuf::from(variable("TIDELOCK_TEST_MYSQL_PRISTINE"));
        let copied = Command::new("cp").arg("-a").arg(pristine.join("data")).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        let init = std::fs::read_to_string(pristine.join("init.sql")).unwrap();
        let password = init.split('\'').nth(3).unwrap().to_owned();
        // It is run at each start.
        let again = init.replace("CREATE USER", "CREATE USER IF NOT EXISTS");
        std::fs::write(folder.path().join("init.sql"), again).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let user = variable("TIDELOCK_TEST_MYSQL_USER");
        if !user.is_empty() {
            assert!(Command::new("chown").arg("-R").arg(&user).arg(folder.path()).status().unwrap().success());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let in_folder = |setting: &&str| setting.replace("FOLDER", &folder.path().display().to_string());
        let settings = settings.iter().map(in_folder).collect();
        let mut server = Self { folder, port, password, settings, server: None };
        server.start(&[]).await;
        server
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// URL of a user who may do everything.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mysql://tidelock:{}@{}/{database}", self.password, self.address())
    }

    /// The password of that user.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The folder of its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file of the log that is written to.
    pub(crate) async fn log_file(&self) -> String {
        let mut connection = crate::harness::mysql_connection(&self.url("mysql")).await;
        let sql = if is_mariadb() { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" };
        sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap().get(0)
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&mut self, more: &[&str]) {
        let begin = std::time::Instant::now();
        let folder = self.folder.path();
        let path = |name: &str| folder.join(name).display().to_string();
        let server = program(&variable("TIDELOCK_TEST_MYSQL_SERVER"))
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", "--binlog-format=ROW"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-buffer-pool-size=32M"])
            // A server that starts takes the temporary tables away that it finds: those of others, where they share a folder.
            .args([format!("--datadir={}", path("data")), format!("--tmpdir={}", path("tmp"))])
            .arg(format!("--socket={}", path("socket")))
            .args([format!("--pid-file={}", path("pid")), format!("--init-file={}", path("init.sql"))])
            .args([format!("--port={}", self.port), "--log-bin=binlog".to_owned()])
            .args(if is_mariadb() { None } else { Some("--mysqlx=OFF") })
            .args(if more.iter().any(|setting| setting.contains("server-id")) { None } else { Some("--server-id=7") })
            .args(&self.settings)
            .args(more)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        self.server = Some(server);
        loop {
            if let Ok(connection) = sqlx::MySqlConnection::connect(&self.url("mysql")).await {
                connection.close().await.unwrap();
                return;
            }
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(begin.elapsed() < Duration::from_secs(60), "the server does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
        server.wait().unwrap();
    }

    /// `kill -9`.
    pub(crate) fn crash(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.crash();
        }
    }
}
