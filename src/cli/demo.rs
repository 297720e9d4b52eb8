//! `tidelock demo`: a small CRM and an ERP in two SQLite files, kept in step while both are edited. Nothing is faked: it is the service
//! that `tidelock run` runs, on a configuration that stays behind for you.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use super::service::{ConfigArgs, Service};
use crate::runtime::audit::audit;
use crate::runtime::open::{OpenError, open};
use crate::runtime::supervisor::{Statuses, Supervisor};

mod stage;

use stage::Stage;

/// How long the demo waits for one of its own edits to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `tidelock demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Stay, so that you can edit both databases and watch the changes travel
    #[arg(long)]
    keep: bool,
    /// Folder for the databases, the configuration and the plugins; must not exist yet [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Where an edit does not arrive, or the folder cannot be used.
pub async fn run(args: DemoArgs, json: bool) -> anyhow::Result<ExitCode> {
    crate::telemetry::start("warn", json);
    let stage = Stage::build(args.dir, json).await?;
    let config = ConfigArgs { files: vec![stage.folder.join("tidelock.json")], plugins: None, state: None };
    let mut service = match Service::start(&config, true, json).await? {
        Ok(service) => service,
        Err(code) => return Ok(code),
    };
    service.own_state().await?;
    let _watch = service.watch_plugins();
    let shutdown = CancellationToken::new();
    let supervisor = Supervisor::new(service.config.pairs.clone(), &service.state, &service.catalogue());
    let statuses = supervisor.statuses();
    let running = tokio::spawn(supervisor.serve(shutdown.clone()));
    let began = Instant::now();
    let played = play(&stage, &service).await;
    if played.is_ok() && args.keep {
        keep(&stage, statuses.clone()).await?;
    }
    shutdown.cancel();
    running.await.context("the service's task")?;
    played?;
    close(&stage, &service, &statuses, began).await
}

async fn play(stage: &Stage, service: &Service) -> anyhow::Result<()> {
    stage.say("A CRM and an ERP, one SQLite file each: other column names, messy phones and names, no shared key.");
    stage.show("CRM contacts, as people typed them", &stage.crm, stage::CRM_ROWS).await?;
    stage.await_value(&stage.erp, "SELECT count(*) FROM clients WHERE crm_id IS NOT NULL", "7").await?;
    stage
        .show("ERP clients, after the first sync through three WebAssembly plugins", &stage.erp, stage::ERP_ROWS)
        .await?;

    stage.step("an edit in the CRM", &stage.crm, "UPDATE contacts SET phone = '1-425-882-8080' WHERE id = 1").await?;
    stage.arrives(&stage.erp, "SELECT telephone FROM clients WHERE crm_id = 1", "+14258828080").await?;
    stage
        .step("an edit in the ERP", &stage.erp, "UPDATE clients SET full_name = 'Grace B. Hopper' WHERE crm_id = 2")
        .await?;
    stage.arrives(&stage.crm, "SELECT name FROM contacts WHERE id = 2", "Grace B. Hopper").await?;
    stage
        .step(
            "a client born in the ERP",
            &stage.erp,
            "INSERT INTO clients (full_name, telephone) VALUES ('Alan Turing', '(212) 221-3546')",
        )
        .await?;
    stage.arrives(&stage.crm, "SELECT phone FROM contacts WHERE name = 'Alan Turing'", "+12122213546").await?;
    stage.note("the CRM generated its key, which is written back to the ERP");
    stage
        .await_value(
            &stage.erp,
            "SELECT count(*) FROM clients WHERE full_name = 'Alan Turing' AND crm_id IS NOT NULL",
            "1",
        )
        .await?;

    stage
        .step("a phone that is none", &stage.crm, "INSERT INTO contacts (name, phone) VALUES ('Tim Paterson', '12345')")
        .await?;
    let review = stage.await_review(service).await?;
    stage.note(&format!("it reaches no system and waits in review: {review}"));
    stage
        .step("its correction", &stage.crm, "UPDATE contacts SET phone = '650-253-0000' WHERE name = 'Tim Paterson'")
        .await?;
    stage.arrives(&stage.erp, "SELECT telephone FROM clients WHERE full_name = 'Tim Paterson'", "+16502530000").await?;

    swap(stage, service).await?;
    conflict(stage).await?;

    stage.step("a delete in the ERP", &stage.erp, "DELETE FROM clients WHERE crm_id = 3").await?;
    stage.arrives(&stage.crm, "SELECT count(*) FROM contacts WHERE id = 3", "0").await
}

/// Another build of `title_case` is dropped into `plugins/` while the service runs.
async fn swap(stage: &Stage, service: &Service) -> anyhow::Result<()> {
    stage
        .step(
            "a name that title_case spells wrong",
            &stage.crm,
            "INSERT INTO contacts (name) VALUES ('RONALD MCDONALD')",
        )
        .await?;
    stage.arrives(&stage.erp, "SELECT count(*) FROM clients WHERE full_name = 'Ronald Mcdonald'", "1").await?;
    let digest = || service.catalogue().snapshot().info("title_case").map(|info| info.digest);
    let old = digest()?;
    let began = Instant::now();
    stage.drop_plugin()?;
    while digest()? == old {
        if began.elapsed() > PATIENCE {
            bail!("the new plugin was not loaded");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.note(&format!(
        "plugins/title_case.wasm dropped in: checked, compiled and swapped after {} ms, between two batches",
        began.elapsed().as_millis()
    ));
    stage
        .step(
            "the same name again",
            &stage.crm,
            "UPDATE contacts SET name = 'ronald mcdonald' WHERE name = 'RONALD MCDONALD'",
        )
        .await?;
    stage.arrives(&stage.erp, "SELECT count(*) FROM clients WHERE full_name = 'Ronald McDonald'", "1").await
}

/// One field edited on both sides at once.
async fn conflict(stage: &Stage) -> anyhow::Result<()> {
    stage.say(
        "The same e-mail address edited on both sides at once: the later edit wins, and the conflict is on record.",
    );
    stage
        .edit_both(
            "UPDATE contacts SET email = 'ada@crm.example' WHERE id = 1",
            "UPDATE clients SET mail = 'ada@erp.example' WHERE crm_id = 1",
        )
        .await?;
    stage.arrives(&stage.crm, "SELECT email FROM contacts WHERE id = 1", "ada@erp.example").await?;
    stage.await_value(&stage.erp, "SELECT mail FROM clients WHERE crm_id = 1", "ada@erp.example").await
}

/// Shows what travels until Ctrl-C.
async fn keep(stage: &Stage, statuses: Statuses) -> anyhow::Result<()> {
    stage.say("Still running. Edit either side and watch; Ctrl-C ends it:");
    for (file, statement) in [
        ("crm.db", "UPDATE contacts SET phone = '650 253 0001' WHERE id = 1"),
        ("erp.db", "UPDATE clients SET full_name = 'Ada K. Lovelace' WHERE crm_id = 1"),
    ] {
        stage.note(&format!("sqlite3 {} \"{statement}\"", stage.folder.join(file).display()));
    }
    let Some((_, mut status)) = statuses.into_iter().next() else { return Ok(()) };
    let mut before = status.borrow_and_update().counts;
    loop {
        tokio::select! {
            done = tokio::signal::ctrl_c() => return done.context("waiting for Ctrl-C"),
            changed = status.changed() => if changed.is_err() { return Ok(()) },
        }
        let now = status.borrow_and_update().counts;
        for (place, written) in
            [("CRM", now.written_source - before.written_source), ("ERP", now.written_target - before.written_target)]
        {
            if written > 0 {
                stage.note(&format!("{written} record(s) written to the {place}"));
            }
        }
        before = now;
    }
}

async fn close(stage: &Stage, service: &Service, statuses: &Statuses, began: Instant) -> anyhow::Result<ExitCode> {
    let Some(config) = service.config.pairs.first() else { bail!("the demo's configuration has no pair") };
    let pair = match open(Arc::new(config.clone()), Arc::clone(&service.state), service.catalogue()).await {
        Ok(pair) => pair,
        Err(OpenError::System(error)) => return Err(error.into()),
        Err(OpenError::Configuration(problems)) => bail!("the demo's configuration does not fit: {problems:?}"),
    };
    let report = audit(&pair.pipeline, &pair.schemas, 0).await?;
    let Some((_, status)) = statuses.first() else { bail!("the demo has no pair") };
    let counts = status.borrow().counts;
    stage.show("ERP clients at the end", &stage.erp, stage::ERP_ROWS).await?;
    stage.summary(&report, &counts, began.elapsed())?;
    Ok(if report.equal() { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_FAILED) })
}
