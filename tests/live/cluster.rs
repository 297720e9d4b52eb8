//! A PostgreSQL server of a test's own, next to the one that all share.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::Connection;

/// A server of the test's own, to stop and kill.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    port: u16,
    /// What it is started with, beside where it is.
    settings: Vec<&'static str>,
    server: Option<Child>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the live tests through tests/run"))
}

/// A program of PostgreSQL, as the user that may run it.
fn program(name: &str) -> Command {
    let path = PathBuf::from(variable("TIDELOCK_TEST_POSTGRES_BIN")).join(name);
    match variable("TIDELOCK_TEST_POSTGRES_USER").as_str() {
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

impl Cluster {
    /// One that lets in who comes from this machine.
    pub(crate) async fn new() -> Self {
        Self::with(&[], &[]).await
    }

    /// One with more settings, and with files in its folder of data that nobody else may read.
    pub(crate) async fn with(settings: &[&'static str], files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = variable("TIDELOCK_TEST_POSTGRES_USER");
        if !user.is_empty() {
            assert!(Command::new("chown").arg(&user).arg(folder.path()).status().unwrap().success());
        }
        let made = program("initdb")
            .arg(format!("--pgdata={}", folder.path().join("data").display()))
            .args(["--username=tidelock", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for (name, text) in files {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.path().join("data").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            if !user.is_empty() {
                assert!(Command::new("chown").arg(&user).arg(&path).status().unwrap().success());
            }
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = ["wal_level=logical"].iter().chain(settings).copied().collect();
        let mut cluster = Self { folder, port, settings, server: None };
        cluster.start().await;
        cluster
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// URL of its superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://tidelock@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it and waits until it answers. After a crash the first tries may find what is left of the old one.
    pub(crate) async fn start(&mut self) {
        let begin = std::time::Instant::now();
        loop {
            let folder = self.folder.path();
            let server = self.server.get_or_insert_with(|| {
                program("postgres")
                    .arg("-D")
                    .arg(folder.join("data"))
                    .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
                    .args(["-c", &format!("unix_socket_directories={}", folder.display())])
                    .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
                    .current_dir(folder)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            });
            if server.try_wait().unwrap().is_some() {
                self.server = None;
            } else if let Ok(connection) = sqlx::PgConnection::connect(&self.url()).await {
                connection.close().await.unwrap();
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "PostgreSQL does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `pg_ctl stop -m fast`: sessions are ended.
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        assert!(Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap().success());
        server.wait().unwrap();
    }

    /// `kill -9` of the postmaster.
    pub(crate) fn crash(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
    }
}
