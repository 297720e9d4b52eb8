//! Answers with what WASI tells it. For tests of grants: the clock stands still, chance repeats itself, and there is nothing else.
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "testing:asks/asks-wasi", generate_all });

use exports::tidelock::plugin::meta::{self, FunctionInfo, PluginInfo};
use exports::tidelock::plugin::simple_transform::{self, Context, Failure, PluginError};
use wasi::cli::{environment, stdin, stdout};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::filesystem::preopens;
use wasi::random::{insecure_seed, random};

struct Plugin;
export!(Plugin);

impl meta::Guest for Plugin {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "asks_wasi".into(),
            version: "1.0.0".into(),
            extra: "{}".into(),
            functions: vec![FunctionInfo {
                name: "ask_wasi".into(),
                doc: "What WASI answers to the question that the value is.".into(),
                role: "field-transform".into(),
                inputs: vec!["text".into()],
                output: "text".into(),
                deterministic: true,
                idempotent: false,
                reverse: String::new(),
                params_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
                examples: Vec::new(),
            }],
        }
    }
}

impl simple_transform::Guest for Plugin {
    fn apply(
        _: Context,
        _: String,
        _: String,
        _: u16,
        values: Vec<Option<String>>,
    ) -> Result<Vec<Result<Option<String>, Failure>>, PluginError> {
        let answer = |value: String| {
            let unknown = || Failure { code: "unknown-question".into(), message: "nothing to ask".into() };
            ask(&value).ok_or_else(unknown)
        };
        Ok(values.into_iter().map(|value| value.map(answer).transpose()).collect())
    }
}

fn ask(question: &str) -> Option<String> {
    Some(match question {
        "wall" => {
            let now = wall_clock::now();
            format!("{}.{:09}", now.seconds, now.nanoseconds)
        }
        "monotonic" => monotonic_clock::now().to_string(),
        "sleep" => {
            // A year: it must not be waited for.
            let pollable = monotonic_clock::subscribe_duration(31_536_000_000_000_000);
            pollable.block();
            pollable.ready().to_string()
        }
        "random" => format!("{:016x}", random::get_random_u64()),
        "bytes" => random::get_random_bytes(40).iter().map(|byte| format!("{byte:02x}")).collect(),
        "many bytes" => random::get_random_bytes(1 << 40).len().to_string(),
        "seed" => format!("{:?}", insecure_seed::insecure_seed()),
        "environment" => format!(
            "{:?} {:?} {:?}",
            environment::get_environment(),
            environment::get_arguments(),
            environment::initial_cwd()
        ),
        "folders" => preopens::get_directories().len().to_string(),
        "stdin" => match stdin::get_stdin().read(100) {
            Ok(bytes) => format!("{bytes:?}"),
            Err(_) => "closed".to_owned(),
        },
        "print" => {
            let out = stdout::get_stdout();
            let written = (0..10_000).take_while(|_| out.blocking_write_and_flush(b"a line of output\n").is_ok());
            written.count().to_string()
        }
        _ => return None,
    })
}
