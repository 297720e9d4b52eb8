//! Validators that are wrong about rows, or say too much.

use crate::exports::tidelock::plugin::validator::{
    Batch, Context, Guest, GuestRule, PluginError, Rule, Violation,
};
use crate::{Plugin, find, spin, trap_on};

pub const NAMES: [&str; 5] = ["va_trap_on_poison", "va_loop", "va_row", "va_many", "va_million"];

pub struct Opened(&'static str);

impl Guest for Plugin {
    type Rule = Opened;
}

impl GuestRule for Opened {
    fn open(function: String, _: String) -> Result<Rule, PluginError> {
        Ok(Rule::new(Self(find(&NAMES, &function)?)))
    }

    fn fields(&self) -> Vec<String> {
        Vec::new()
    }

    fn check(&self, _: Context, input: Batch) -> Result<Vec<Violation>, PluginError> {
        input.columns.iter().for_each(|named| trap_on(&named.column, b"poison"));
        let found = |row| Violation {
            row,
            field: "a".to_owned(),
            code: "No \u{1b}[31m Good".to_owned(),
            message: "said\n".repeat(1_000),
        };
        match self.0 {
            "va_loop" => spin(),
            "va_row" => Ok(vec![found(input.rows)]),
            // The first row only.
            "va_many" => Ok((0..150).map(|_| found(0)).collect()),
            "va_million" => {
                let small = |row| Violation { field: String::new(), code: String::new(), message: String::new(), row };
                Ok((0..1_000_000).map(|_| small(0)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}
