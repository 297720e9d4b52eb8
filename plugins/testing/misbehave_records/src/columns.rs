//! What only columns of values can show: logs, memory that is lent twice, destructors, and what stays from call to call.

use std::cell::Cell;
use std::mem::ManuallyDrop;

use crate::exports::tidelock::plugin::field_transform::{
    Column, Context, Guest, GuestTransform, Outcome, PluginError, Transform,
};
use crate::tidelock::plugin::{log, types::RowError};
use crate::{Plugin, find, spin, texts};

pub const NAMES: [&str; 4] = ["log_flood", "aliased_texts", "loop_on_drop", "count_calls"];

/// Errors of one call that share one message of 16 MiB.
const ALIASES: u32 = 1_000_000;

pub struct Opened(&'static str);

impl Guest for Plugin {
    type Transform = Opened;
}

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

impl GuestTransform for Opened {
    fn open(function: String, _: String) -> Result<Transform, PluginError> {
        Ok(Transform::new(Self(find(&NAMES, &function)?)))
    }

    fn apply(&self, _: Context, input: Column) -> Result<Outcome, PluginError> {
        match self.0 {
            "log_flood" => {
                let line = "flood ".repeat(1_000);
                (0..10_000).for_each(|_| log::write(4, &line));
                Ok(Outcome { output: input, errors: Vec::new() })
            }
            "aliased_texts" => Ok(Outcome { output: input, errors: aliased() }),
            "count_calls" => {
                let calls = CALLS.with(|calls| calls.replace(calls.get() + 1)) + 1;
                let count = calls.to_string();
                let counts = vec![count.as_str(); input.rows as usize];
                Ok(Outcome { output: texts(&counts), errors: Vec::new() })
            }
            _ => Ok(Outcome { output: input, errors: Vec::new() }),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.0 == "loop_on_drop" {
            spin();
        }
    }
}

fn aliased() -> Vec<RowError> {
    let message = ManuallyDrop::new("x".repeat(16 << 20));
    let alias = |row| {
        // SAFETY: deliberately none. The host copies these and ends the instance before anything is freed.
        let message = unsafe { String::from_raw_parts(message.as_ptr().cast_mut(), message.len(), message.len()) };
        RowError { row, code: String::new(), message }
    };
    (0..ALIASES).map(alias).collect()
}
