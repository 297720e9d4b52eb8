//! `tidelock sandbox`: systems to try a configuration against, on this machine only.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::print_json;
use crate::sandbox::{CLIENT_ID, CLIENT_SECRET, Identity, PASSWORD, REFRESH_TOKEN, Sandbox, Script, USERNAME};

/// Arguments of `tidelock sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    #[command(subcommand)]
    system: System,
}

#[derive(Debug, Subcommand)]
enum System {
    /// A Salesforce-compatible API with Account and Contact records of its own, and a page to edit them; see docs/sandbox.md
    Salesforce(SalesforceArgs),
}

#[derive(Debug, Args)]
struct SalesforceArgs {
    /// The port on 127.0.0.1; 0 takes any
    #[arg(long, default_value_t = 8081)]
    port: u16,
    /// The port on 127.0.0.1 of the Pub/Sub API (gRPC, with or without TLS); 0 takes any
    #[arg(long, default_value_t = 0)]
    pubsub_port: u16,
    /// The certificate that clients of the Pub/Sub API are shown, with those it is signed by; without it one is made at each start, which nobody trusts
    #[arg(long, value_name = "FILE.pem", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE.pem", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Records to begin with, in place of the few that come with it: FILE.csv of accounts, or OBJECT=FILE.csv; columns that are no standard
    /// field become custom fields
    #[arg(long, value_name = "[OBJECT=]FILE.csv")]
    seed: Vec<String>,
    /// Begin without records
    #[arg(long, conflicts_with = "seed")]
    empty: bool,
    /// What goes wrong on purpose, as JSON
    #[arg(long, value_name = "FILE.json")]
    faults: Option<PathBuf>,
    /// How many requests a day the API answers
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    daily_requests: u64,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// Where the port is taken, or a file cannot be read or is wrong.
pub async fn run(args: SandboxArgs, json: bool) -> anyhow::Result<ExitCode> {
    let System::Salesforce(args) = args.system;
    let faults = match &args.faults {
        None => Script::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no script of faults", file.display()))?
        }
    };
    let identity = identity(&args)?;
    let bound = Sandbox::bind(args.port, args.pubsub_port, args.daily_requests, faults).await;
    let mut sandbox =
        bound.with_context(|| format!("taking ports {} and {} of 127.0.0.1", args.port, args.pubsub_port))?;
    let records = seed(&mut sandbox, &args)?;
    let urls = [sandbox.address()?, sandbox.pubsub_address()?].map(|address| format!("http://{address}"));
    announce(&urls, records, json);
    let shutdown = CancellationToken::new();
    let ended = shutdown.clone();
    tokio::spawn(async move {
        // Where the signal cannot be awaited, the sandbox runs until it is killed.
        if tokio::signal::ctrl_c().await.is_ok() {
            ended.cancel();
        }
    });
    sandbox.serve(identity, shutdown).await.context("serving the sandbox")?;
    Ok(ExitCode::SUCCESS)
}

fn seed(sandbox: &mut Sandbox, args: &SalesforceArgs) -> anyhow::Result<usize> {
    let wrong = |file: &str, error: String| anyhow!("{file}: {error}");
    if args.empty {
        return Ok(0);
    }
    if args.seed.is_empty() {
        return sandbox.seed_sample().map_err(|error| wrong("the records that come with it", error));
    }
    let mut records = 0;
    for seed in &args.seed {
        let (object, file) = seed.split_once('=').unwrap_or(("Account", seed));
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
        records += sandbox.seed(object, &text).map_err(|error| wrong(file, error))?;
    }
    Ok(records)
}

/// What clients of the Pub/Sub API that want TLS are shown.
fn identity(args: &SalesforceArgs) -> anyhow::Result<Identity> {
    let (Some(certificates), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Identity::self_signed().map_err(|error| anyhow!("making a certificate: {error}"));
    };
    let reading = |file: &PathBuf| format!("reading {}", file.display());
    let found = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let certificates: Vec<_> = found.with_context(|| reading(certificates))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| reading(key))?;
    Ok(Identity { certificates, key })
}

fn announce(urls: &[String; 2], records: usize, json: bool) {
    let [url, pubsub] = urls;
    if json {
        print_json(&json!({
            "url": url, "pubsub_endpoint": pubsub, "records": records, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "username": USERNAME,
            "password": PASSWORD, "refresh_token": REFRESH_TOKEN,
        }));
        return;
    }
    println!("Salesforce sandbox with {records} records: {url} (its page; Ctrl-C ends it)");
    println!("  pubsub_endpoint  {pubsub} (the Pub/Sub API; the same port takes TLS)");
    println!("  client_id        {CLIENT_ID}");
    println!("  client_secret    {CLIENT_SECRET}");
    println!("  username         {USERNAME}");
    println!("  password         {PASSWORD}");
    println!("  refresh_token    {REFRESH_TOKEN}");
}
