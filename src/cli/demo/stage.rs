//! The demo's stage: its databases, its configuration, and how it speaks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row};

use super::PATIENCE;
use crate::cli::output::{Table, print_json};
use crate::cli::service::Service;
use crate::runtime::audit::Report;
use crate::state::{Counts, ReviewFilter};

const CRM: &str = include_str!("crm.sql");
const ERP: &str = include_str!("erp.sql");
const CONFIG: &str = include_str!("tidelock.json");

/// `title_case` that knows names such as McDonald.
const TITLE_CASE_OF_NAMES: &[u8] = include_bytes!("../../../plugins/built/demo/title_case.wasm");

/// What is shown of the CRM.
pub(super) const CRM_ROWS: &str = "SELECT CAST(id AS TEXT) AS id, name, phone, email FROM contacts ORDER BY id";
/// What is shown of the ERP.
pub(super) const ERP_ROWS: &str = "SELECT CAST(client_no AS TEXT) AS client_no, CAST(crm_id AS TEXT) AS crm_id, full_name, telephone, mail FROM clients ORDER BY client_no";

/// The demo's databases and its voice.
pub(super) struct Stage {
    /// Where everything is.
    pub(super) folder: PathBuf,
    /// The source.
    pub(super) crm: SqlitePool,
    /// The target.
    pub(super) erp: SqlitePool,
    json: bool,
    /// When the last edit was committed.
    edited: std::sync::Mutex<Instant>,
}

impl Stage {
    /// Makes the databases, the configuration and an empty `plugins/`.
    pub(super) async fn build(folder: Option<PathBuf>, json: bool) -> anyhow::Result<Self> {
        let folder = folder.unwrap_or_else(|| {
            let name = format!("tidelock-demo-{}-{}", std::process::id(), crate::telemetry::clock::now_micros());
            std::env::temp_dir().join(name)
        });
        std::fs::create_dir(&folder).with_context(|| {
            format!("cannot make the folder {}: name one that does not exist yet", folder.display())
        })?;
        std::fs::create_dir(folder.join("plugins"))?;
        std::fs::write(folder.join("tidelock.json"), CONFIG)?;
        let open = async |name: &str, sql: &'static str| -> anyhow::Result<SqlitePool> {
            let options = SqliteConnectOptions::new().filename(folder.join(name)).create_if_missing(true);
            let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(PATIENCE);
            let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
            sqlx::raw_sql(sql).execute(&pool).await?;
            Ok(pool)
        };
        let (crm, erp) = (open("crm.db", CRM).await?, open("erp.db", ERP).await?);
        Ok(Self { folder, crm, erp, json, edited: std::sync::Mutex::new(Instant::now()) })
    }

    /// A line of the story.
    pub(super) fn say(&self, text: &str) {
        self.speak("say", &format!("\n{text}"), text);
    }

    /// A remark.
    pub(super) fn note(&self, text: &str) {
        self.speak("note", &format!("    {text}"), text);
    }

    fn speak(&self, kind: &str, pretty: &str, text: &str) {
        if self.json {
            print_json(&json!({"kind": kind, "text": text}));
        } else {
            println!("{pretty}");
        }
    }

    /// Shows the rows of a query.
    pub(super) async fn show(&self, title: &str, pool: &SqlitePool, query: &'static str) -> anyhow::Result<()> {
        use sqlx::Column;
        let rows = sqlx::query(query).fetch_all(pool).await?;
        let headings: Vec<&str> =
            rows.first().map(|row| row.columns().iter().map(Column::name).collect()).unwrap_or_default();
        let mut table = Table::new(&headings);
        for row in &rows {
            table.row(
                (0..headings.len())
                    .map(|column| row.get::<Option<String>, _>(column).unwrap_or_else(|| "-".to_owned())),
            );
        }
        self.speak("table", &format!("\n{title}\n{}", table.text()), &format!("{title}\n{}", table.text()));
        Ok(())
    }

    /// An edit, made as any program would make it.
    pub(super) async fn step(&self, what: &str, pool: &SqlitePool, sql: &'static str) -> anyhow::Result<()> {
        self.speak("edit", &format!("\n  {what}\n    {sql}"), &format!("{what}: {sql}"));
        sqlx::raw_sql(sql).execute(pool).await?;
        self.edited_now();
        Ok(())
    }

    fn edited_now(&self) {
        *self.edited.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    /// Two edits that are committed at the same moment, the ERP's last.
    pub(super) async fn edit_both(&self, crm: &'static str, erp: &'static str) -> anyhow::Result<()> {
        self.note(&format!("CRM: {crm}"));
        self.note(&format!("ERP: {erp}"));
        let mut first = self.crm.begin_with("BEGIN IMMEDIATE").await?;
        let mut second = self.erp.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(crm).execute(&mut *first).await?;
        // The change tables' clock ticks in milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
        sqlx::query(erp).execute(&mut *second).await?;
        first.commit().await?;
        second.commit().await?;
        self.edited_now();
        Ok(())
    }

    /// Waits for an edit to arrive and says how long it took.
    pub(super) async fn arrives(&self, pool: &SqlitePool, query: &'static str, expected: &str) -> anyhow::Result<()> {
        self.await_value(pool, query, expected).await?;
        let took = self.edited.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed();
        self.note(&format!("arrived after {} ms: {expected}", took.as_millis()));
        Ok(())
    }

    /// Waits until the only value of a query is `expected`.
    pub(super) async fn await_value(
        &self,
        pool: &SqlitePool,
        query: &'static str,
        expected: &str,
    ) -> anyhow::Result<()> {
        let text = format!("SELECT CAST(({query}) AS TEXT)");
        let began = Instant::now();
        loop {
            let value: Option<String> = sqlx::query_scalar(AssertSqlSafe(text.clone())).fetch_one(pool).await?;
            if value.as_deref() == Some(expected) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("{query} is still {value:?}, expected {expected}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for a record in review and says why it is there.
    pub(super) async fn await_review(&self, service: &Service) -> anyhow::Result<String> {
        let began = Instant::now();
        loop {
            if let Some(review) = service.state.reviews(&ReviewFilter::pair("crm_to_erp"), 1).await?.first() {
                return Ok(format!("{} [{}]", review.finding.message, review.finding.code));
            }
            if began.elapsed() > PATIENCE {
                bail!("the invalid phone is not in review");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Drops another build of `title_case` into `plugins/`.
    pub(super) fn drop_plugin(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(self.folder.join("plugins/title_case.wasm"), TITLE_CASE_OF_NAMES)?)
    }

    /// The end.
    pub(super) fn summary(&self, report: &Report, counts: &Counts, took: Duration) -> anyhow::Result<()> {
        let folder = self.folder.display();
        if self.json {
            print_json(&json!({"kind": "summary", "folder": folder.to_string(), "seconds": took.as_secs_f64(),
                "counts": serde_json::to_value(counts)?, "audit": serde_json::to_value(report)?}));
            return Ok(());
        }
        let verdict = if report.equal() { "equal" } else { "NOT equal" };
        println!("Both sides compared through the mapping: {} records, {verdict}.", report.compared);
        println!(
            "{} written to the CRM, {} to the ERP, {} conflict(s) settled, {} refused and then corrected, in {:.1} s.",
            counts.written_source,
            counts.written_target,
            counts.conflicts,
            counts.rejected,
            took.as_secs_f64()
        );
        println!("\nEverything is in {folder}. Go on with\n    tidelock run {folder}/tidelock.json");
        Ok(())
    }
}
