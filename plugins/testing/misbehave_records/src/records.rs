//! Record transforms that answer with batches which are right but for what their name says.

use crate::exports::tidelock::plugin::record_transform::{
    Batch, Context, Guest, GuestTransform, Outcome, PluginError, Transform,
};
use crate::tidelock::plugin::types::{NamedColumn, RowError};
use crate::{Plugin, find, spin, trap_on};

pub const NAMES: [&str; 15] = [
    "rt_trap_on_poison",
    "rt_loop",
    "rt_loop_fields",
    "rt_many_fields",
    "rt_rows",
    "rt_column_rows",
    "rt_same_name",
    "rt_no_name",
    "rt_long_name",
    "rt_many_columns",
    "rt_presence",
    "rt_offsets",
    "rt_utf8",
    "rt_disposition",
    "rt_error_row",
];

pub struct Opened(&'static str);

impl Guest for Plugin {
    type Transform = Opened;
}

impl GuestTransform for Opened {
    fn open(function: String, _: String) -> Result<Transform, PluginError> {
        Ok(Transform::new(Self(find(&NAMES, &function)?)))
    }

    fn fields(&self) -> Vec<String> {
        match self.0 {
            "rt_loop_fields" => spin(),
            "rt_many_fields" => (0..100_000).map(|number| format!("field {number}")).collect(),
            _ => vec!["a".to_owned()],
        }
    }

    fn apply(&self, _: Context, input: Batch) -> Result<Outcome, PluginError> {
        if self.0 == "rt_loop" {
            spin();
        }
        input.columns.iter().for_each(|named| trap_on(&named.column, b"poison"));
        let rows = input.rows as usize;
        let mut outcome = Outcome { output: input, disposition: Vec::new(), errors: Vec::new() };
        let columns = &mut outcome.output.columns;
        match self.0 {
            "rt_rows" => outcome.output.rows += 1,
            "rt_column_rows" => columns[0].column.rows += 1,
            "rt_same_name" => columns.push(columns[0].clone()),
            "rt_no_name" => columns[0].name.clear(),
            "rt_long_name" => columns[0].name = "n".repeat(1 << 20),
            "rt_many_columns" => {
                let column = columns[0].column.clone();
                let named = |number| NamedColumn { name: format!("{number}"), column: column.clone(), presence: vec![] };
                columns.extend((0..2_000).map(named));
            }
            "rt_presence" => columns[0].presence = vec![0xff; rows.div_ceil(8) + 1],
            "rt_offsets" => columns[0].column.offsets.reverse(),
            "rt_utf8" => columns[0].column.data.fill(0xff),
            "rt_disposition" => outcome.disposition = vec![0; rows + 1],
            "rt_error_row" => {
                let (code, message) = ("nowhere".to_owned(), String::new());
                outcome.errors.push(RowError { row: u32::MAX, code, message });
            }
            _ => {}
        }
        Ok(outcome)
    }
}
