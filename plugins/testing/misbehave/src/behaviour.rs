//! The functions of `misbehave`. Those that answer at all answer with a column that is right but for what their name says.

use crate::Behaviour;
use crate::exports::tidelock::plugin::field_transform::{Column, Outcome, PluginError};
use crate::tidelock::plugin::types::RowError;
use std::hint::black_box;

type Answer = Result<Outcome, PluginError>;

/// Name, documentation and body of each.
pub const BEHAVIOURS: [(&str, &str, Behaviour); 14] = [
    ("loop_forever", "Never returns.", loop_forever),
    ("hog_memory", "Asks for memory until there is none.", hog_memory),
    ("trap_always", "Traps.", trap_always),
    ("trap_on_poison", "Traps when a value is \"poison\", else appends an exclamation mark.", trap_on_poison),
    ("wrong_rows", "Answers with one row too few.", wrong_rows),
    ("bad_utf8", "Answers with bytes that are not UTF-8.", bad_utf8),
    ("bad_offsets", "Answers with offsets that fall and point outside.", bad_offsets),
    ("bad_bitmap", "Answers with a validity bitmap that is too short.", bad_bitmap),
    ("huge_output", "Answers with 64 MiB.", huge_output),
    ("error_rows", "Fails for values with an odd number of bytes.", error_rows),
    ("out_of_range_error", "Names an error in row 4,000,000,000.", out_of_range_error),
    ("slow", "Burns about 20 ms per value.", slow),
    ("stack_overflow", "Calls itself without end.", stack_overflow),
    ("call_error", "Fails as a whole, for good.", call_error),
];

/// Additions that take about 20 ms with deadline checks in the loop, on a machine of 2026.
const SLOW_STEPS: u64 = 16_000_000;

fn loop_forever(_: Column) -> Answer {
    loop {
        black_box(());
    }
}

fn hog_memory(_: Column) -> Answer {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(black_box(vec![1; 1 << 20]));
    }
}

fn trap_always(_: Column) -> Answer {
    std::arch::wasm32::unreachable()
}

fn trap_on_poison(input: Column) -> Answer {
    answer(map(&input, |value, out| {
        if value == b"poison" {
            std::arch::wasm32::unreachable();
        }
        out.extend_from_slice(value);
        out.push(b'!');
    }))
}

fn wrong_rows(input: Column) -> Answer {
    let rows = input.rows.saturating_sub(1);
    let offsets: Vec<u32> = input.offsets[..=rows as usize].to_vec();
    let data = input.data[..offsets[rows as usize] as usize].to_vec();
    let validity = input.validity[..input.validity.len().min((rows as usize).div_ceil(8))].to_vec();
    answer(Column { rows, kind: input.kind, validity, offsets, data })
}

fn bad_utf8(input: Column) -> Answer {
    answer(map(&input, |_, out| out.extend_from_slice(&[0xff, 0xfe])))
}

fn bad_offsets(input: Column) -> Answer {
    let mut output = input;
    for (row, offset) in output.offsets.iter_mut().enumerate() {
        *offset = 1_000_000_u32.saturating_sub(row as u32);
    }
    answer(output)
}

/// One byte too short; where that would be none at all, which means "no nulls", one too long.
fn bad_bitmap(input: Column) -> Answer {
    let needed = (input.rows as usize).div_ceil(8);
    let length = if needed > 1 { needed - 1 } else { needed + 1 };
    answer(Column { validity: vec![0xff; length], ..input })
}

fn huge_output(input: Column) -> Answer {
    const BYTES: u32 = 64 << 20;
    let mut offsets = vec![BYTES; input.offsets.len()];
    offsets[0] = 0;
    answer(Column { validity: Vec::new(), offsets, data: vec![b'x'; BYTES as usize], ..input })
}

fn error_rows(input: Column) -> Answer {
    let mut errors = Vec::new();
    let mut output = map(&input, |value, out| out.extend_from_slice(value));
    for row in 0..input.rows {
        let length = input.offsets[row as usize + 1] - input.offsets[row as usize];
        if is_set(&input.validity, row) && length % 2 == 1 {
            clear(&mut output, row);
            let message = "an odd number of bytes".to_owned();
            errors.push(RowError { row, code: "odd-length".to_owned(), message });
        }
    }
    Ok(Outcome { output, errors })
}

fn out_of_range_error(input: Column) -> Answer {
    let (code, message) = ("nowhere".to_owned(), "there is no such row".to_owned());
    Ok(Outcome { output: input, errors: vec![RowError { row: 4_000_000_000, code, message }] })
}

fn slow(input: Column) -> Answer {
    for _ in 0..input.rows {
        let mut sum = 0_u64;
        for step in 0..SLOW_STEPS {
            sum = black_box(sum.wrapping_add(step));
        }
        black_box(sum);
    }
    answer(input)
}

fn stack_overflow(input: Column) -> Answer {
    let depth = descend(u64::from(input.rows) + 1);
    black_box(depth);
    answer(input)
}

/// Uses its own result afterwards, so that it is no loop in disguise.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 4]);
    if depth == 0 { 0 } else { descend(depth.wrapping_add(1)).wrapping_add(black_box(frame)[0]) }
}

fn call_error(_: Column) -> Answer {
    let message = "this function always fails".to_owned();
    Err(PluginError { code: "always-fails".to_owned(), message, retryable: false })
}

fn answer(output: Column) -> Answer {
    Ok(Outcome { output, errors: Vec::new() })
}

/// The column with every value that is not null written anew.
fn map(input: &Column, mut write: impl FnMut(&[u8], &mut Vec<u8>)) -> Column {
    let (mut data, mut offsets) = (Vec::with_capacity(input.data.len()), vec![0]);
    for row in 0..input.rows {
        if is_set(&input.validity, row) {
            let range = input.offsets[row as usize] as usize..input.offsets[row as usize + 1] as usize;
            write(&input.data[range], &mut data);
        }
        offsets.push(data.len() as u32);
    }
    Column { rows: input.rows, kind: input.kind, validity: input.validity.clone(), offsets, data }
}

fn is_set(validity: &[u8], row: u32) -> bool {
    validity.is_empty() || validity[row as usize / 8] >> (row % 8) & 1 == 1
}

fn clear(column: &mut Column, row: u32) {
    if column.validity.is_empty() {
        column.validity = vec![0xff; (column.rows as usize).div_ceil(8)];
    }
    column.validity[row as usize / 8] &= !(1 << (row % 8));
}
