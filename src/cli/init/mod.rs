//! `tidelock init`: a configuration for two collections, its mappings proposed by the names and kinds of their fields.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use super::check;
use super::output::print_json;
use crate::change::Ends;
use crate::config::{PairConfig, Registry, load};
use crate::connector::registry::{PLANNED_SYSTEM_TYPES, SYSTEM_TYPES};
use crate::runtime::open::{OpenError, connectors};
use crate::runtime::status::describe;

mod propose;

use propose::{Proposals, propose};

/// Arguments of `tidelock init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// TYPE:COLLECTION, such as salesforce:Account or postgres:accounts; an SQLite file as sqlite:FILE.db:TABLE
    source: String,
    /// The other side, in the same form
    target: String,
    /// The file to write; one that is there is left alone
    #[arg(long, short, default_value = "sync.json", value_name = "FILE.json")]
    output: PathBuf,
    /// Source to target only
    #[arg(long)]
    one_way: bool,
}

/// Writes the configuration. Logins come from the environment, whose variables stand in it by name.
///
/// # Errors
/// Where a side is not of the form above, or cannot be reached, or the file cannot be written.
pub async fn run(args: InitArgs, json: bool) -> anyhow::Result<ExitCode> {
    let mut config = json!({
        "source": endpoint(&args.source, "source")?,
        "target": endpoint(&args.target, "target")?,
        "sync_settings": {"sync_type": if args.one_way { "one_way" } else { "bidirectional" }},
    });
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&args.output);
    let mut file = file.with_context(|| format!("making {}", args.output.display()))?;
    let mut write = |config: &Value| -> anyhow::Result<()> {
        use std::io::Seek as _;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{config:#}").with_context(|| format!("writing {}", args.output.display()))
    };
    write(&config)?;
    let registry = Registry { system_types: SYSTEM_TYPES, planned_system_types: PLANNED_SYSTEM_TYPES };
    let proposed = match load(std::slice::from_ref(&args.output), &registry) {
        Ok(loaded) => match loaded.config.pairs.first() {
            Some(pair) => proposals(pair).await,
            None => Err(OpenError::Configuration(Vec::new())),
        },
        Err(problems) => Err(OpenError::Configuration(problems)),
    };
    let proposals = match proposed {
        Ok(proposals) => proposals,
        Err(error) => {
            std::fs::remove_file(&args.output).with_context(|| format!("removing {}", args.output.display()))?;
            return match error {
                OpenError::Configuration(problems) => {
                    check::report(&problems, json);
                    Ok(check::exit_code(&problems))
                }
                OpenError::System(error) => bail!("{}", describe(&error)),
            };
        }
    };
    put(&mut config, &proposals);
    write(&config)?;
    tell(&args, &proposals, json);
    Ok(ExitCode::SUCCESS)
}

async fn proposals(pair: &PairConfig) -> Result<Proposals, OpenError> {
    let Ends { source, target } = connectors(pair)?;
    let schemas = (source.describe(&pair.source).await?, target.describe(&pair.target).await?);
    Ok(propose(&pair.source.collection, &schemas.0, &schemas.1))
}

/// An endpoint with its login by the environment.
fn endpoint(said: &str, name: &str) -> anyhow::Result<Value> {
    let Some((system_type, rest)) = said.split_once(':').filter(|(_, rest)| !rest.is_empty()) else {
        bail!("\"{said}\" is not of the form TYPE:COLLECTION, such as salesforce:Account");
    };
    Ok(match system_type {
        "salesforce" => json!({"type": system_type, "name": name, "object": rest, "credentials": {
            "auth_type": "oauth2", "grant": "client_credentials", "instance_url": "${SALESFORCE_INSTANCE_URL}",
            "client_id": "${SALESFORCE_CLIENT_ID}", "client_secret": "${SALESFORCE_CLIENT_SECRET}"}}),
        "postgres" => json!({"type": system_type, "name": name, "url": "${DATABASE_URL}", "table": rest}),
        "mysql" => json!({"type": system_type, "name": name, "url": "${MYSQL_URL}", "table": rest}),
        "sqlite" => {
            let Some((file, table)) = rest.rsplit_once(':') else {
                bail!("\"{said}\" is not of the form sqlite:FILE.db:TABLE")
            };
            json!({"type": system_type, "name": name, "path": file, "table": table})
        }
        _ => bail!("there is no type of system \"{system_type}\": {}", SYSTEM_TYPES.join(", ")),
    })
}

fn put(config: &mut Value, proposals: &Proposals) {
    let Some(config) = config.as_object_mut() else { return };
    if let Some((source, target)) = &proposals.key {
        config.insert("key".to_owned(), json!({"source": source, "target": target}));
    }
    let mapping = |field: &propose::Proposal| {
        let mut mapping = Map::new();
        mapping.insert("source".to_owned(), json!(field.source));
        mapping.insert("target".to_owned(), json!(field.target));
        mapping.extend(field.direction.map(|direction| ("direction".to_owned(), json!(direction))));
        Value::Object(mapping)
    };
    let mappings: Vec<Value> = proposals.fields.iter().map(mapping).collect();
    config.insert("field_mappings".to_owned(), Value::Array(mappings));
}

fn tell(args: &InitArgs, proposals: &Proposals, json: bool) {
    let file = args.output.display().to_string();
    if json {
        print_json(&json!({"file": file, "mappings": proposals.fields.len(), "key": proposals.key.is_some()}));
        return;
    }
    for field in &proposals.fields {
        println!("  {} ↔ {}", field.source, field.target);
    }
    println!("wrote {file}: {} mappings proposed by name and kind; look them through", proposals.fields.len());
    match &proposals.key {
        Some((source, target)) => println!("records are matched by {source} = {target}"),
        None => println!("no column of the target is likely to hold the source's key: add one, and \"key\" to {file}"),
    }
    println!("then: tidelock check {file} --connect");
}
