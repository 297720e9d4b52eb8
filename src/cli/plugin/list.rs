//! `tidelock plugin list`: every function that can be used here, or that a running service uses, and the files that are not in use.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Folder, settings, short, warn_of_failures};
use crate::cli::output::Table;
use crate::config::environment;
use crate::plugin::Catalog;

/// The service's token, where it wants one: the variable that the documentation uses for it in configurations.
const TOKEN: &str = "TIDELOCK_TOKEN";
/// A service that does not answer for so long is not there.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// No list of plugins is larger.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What a service says of its plugins.
#[derive(Deserialize)]
struct Said {
    plugins: Vec<Value>,
    refused: Vec<Value>,
}

pub(super) async fn run(folder: Folder, service: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let plugins = match &service {
        Some(address) => {
            let Said { plugins, refused } = ask(address).await?;
            for refused in &refused {
                let (plugin, state) = (text(&refused["plugin"]), text(&refused["state"]));
                eprintln!(
                    "warning: {plugin}.wasm is {state}: {} [{}]",
                    text(&refused["message"]),
                    text(&refused["code"])
                );
            }
            plugins
        }
        None => {
            let set = Catalog::start(settings(folder.plugins, &folder.cache)?).await?.current();
            warn_of_failures(&set);
            set.details().iter().map(|plugin| json!(plugin)).collect()
        }
    };
    let functions: Vec<Value> = plugins.iter().flat_map(functions).collect();
    if json {
        println!("{}", json!(functions));
    } else {
        table(&functions, service.is_some()).print();
    }
    Ok(ExitCode::SUCCESS)
}

/// The functions of a plugin, each with what is known of the plugin.
fn functions(plugin: &Value) -> Vec<Value> {
    let known = ["plugin", "version", "digest", "state", "load_ms"].map(|key| (key.to_owned(), plugin[key].clone()));
    let function = |function: &Value| {
        let own = function.as_object().cloned().unwrap_or_default();
        Value::Object(known.iter().cloned().chain(own).collect())
    };
    items(&plugin["functions"]).iter().map(function).collect()
}

/// What a service's functions did is told, and of functions that nobody has called yet what they do.
fn table(functions: &[Value], of_service: bool) -> Table {
    let known = ["function", "role", "plugin", "digest", "state", "load ms"];
    let more: &[&str] =
        if of_service { &["calls", "values", "errors", "ns a value"] } else { &["idempotent", "what it does"] };
    let mut table = Table::new(&[&known, more].concat());
    for function in functions {
        let state = if function["breaker_open"] == true { "breaker open" } else { text(&function["state"]) };
        let names = ["name", "role", "plugin"].map(|key| text(&function[key]).to_owned());
        let [digest, state] = [short(text(&function["digest"])), state].map(str::to_owned);
        let counts = &function["counts"];
        let more = if of_service {
            ["calls", "values", "errors", "ns_per_value"].map(|key| number(&counts[key])).to_vec()
        } else {
            let idempotent = if function["idempotent"] == true { "yes" } else { "no" };
            [idempotent, first_sentence(text(&function["doc"]))].map(str::to_owned).to_vec()
        };
        table.row(names.into_iter().chain([digest, state, number(&function["load_ms"])]).chain(more));
    }
    table
}

/// What `GET /api/v1/plugins` of a service says. A service speaks plain HTTP.
async fn ask(address: &str) -> anyhow::Result<Said> {
    let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    if host.contains("://") || host.contains('/') {
        bail!("`{address}` is not the address of a service: expected HOST:PORT or http://HOST:PORT");
    }
    let asking = async {
        let mut stream = TcpStream::connect(host).await?;
        let token = environment(TOKEN).map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        // Version 1.0: the answer ends where the connection does.
        let question = format!("GET /api/v1/plugins HTTP/1.0\r\nhost: {host}\r\n{token}\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer =
        tokio::time::timeout(ANSWER_MAX, asking).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let answer = answer.with_context(|| format!("no service answers at {host}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    match head.split(' ').nth(1) {
        Some("200") => {
            serde_json::from_str(body).with_context(|| format!("{host} answers, but not as a service of tidelock"))
        }
        Some("401") => bail!("the service at {host} wants a token; set {TOKEN}"),
        _ => bail!("{host} answers, but not as a service of tidelock"),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> String {
    value.as_u64().map(|number| number.to_string()).unwrap_or_default()
}

fn first_sentence(doc: &str) -> &str {
    doc.split_once(". ").map_or(doc, |(first, _)| first).trim_end_matches('.')
}
