//! Every way to misbehave with records, and some more with columns, a function each (invariant I10).
#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, missing_docs, reason = "generated glue")]
#![allow(clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "made to misbehave")]

wit_bindgen::generate!({ path: "../../../wit", world: "full-plugin" });

mod columns;
mod conflicts;
mod records;
mod violations;

use exports::tidelock::plugin::meta::{self, FunctionInfo, PluginInfo};
use tidelock::plugin::types::{Column, PluginError};

struct Plugin;
export!(Plugin);

impl meta::Guest for Plugin {
    fn describe() -> PluginInfo {
        let roles = [
            ("field-transform", columns::NAMES.as_slice()),
            ("record-transform", &records::NAMES),
            ("validator", &violations::NAMES),
            ("conflict-resolver", &conflicts::NAMES),
        ];
        let functions = roles.into_iter().flat_map(|(role, names)| names.iter().map(move |name| info(role, name)));
        PluginInfo {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            functions: functions.collect(),
            extra: "{}".to_owned(),
        }
    }
}

fn info(role: &str, name: &str) -> FunctionInfo {
    let of_columns = role == "field-transform";
    FunctionInfo {
        name: name.to_owned(),
        doc: "Misbehaves as its name says.".to_owned(),
        role: role.to_owned(),
        inputs: if of_columns { vec!["text".to_owned()] } else { Vec::new() },
        output: if of_columns { "text".to_owned() } else { String::new() },
        deterministic: false,
        idempotent: false,
        reverse: String::new(),
        params_schema: String::new(),
        examples: Vec::new(),
    }
}

/// The index of a function, or a refusal.
fn find(names: &[&'static str], function: &str) -> Result<&'static str, PluginError> {
    let found = names.iter().find(|name| **name == function).copied();
    found.ok_or_else(|| PluginError { code: "unknown".to_owned(), message: String::new(), retryable: false })
}

/// A text column without nulls.
fn texts(texts: &[&str]) -> Column {
    let (mut offsets, mut data) = (vec![0], Vec::new());
    for text in texts {
        data.extend_from_slice(text.as_bytes());
        offsets.push(data.len() as u32);
    }
    Column { rows: texts.len() as u32, kind: 5, validity: Vec::new(), offsets, data }
}

/// Traps where the column holds this text anywhere.
fn trap_on(column: &Column, poison: &[u8]) {
    if column.data.windows(poison.len()).any(|window| window == poison) {
        std::arch::wasm32::unreachable();
    }
}

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}
