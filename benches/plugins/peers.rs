//! What a user would else embed: the same rule as a Lua and a Rhai script, in a program of its own (`benches/peers`), so that tidelock
//! itself never builds their engines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::native;

/// The program while it runs.
pub(crate) struct Peers {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peers {
    /// Starts the program that `TIDELOCK_BENCH_PEERS` names and gives it the values and what they become natively; it ends with an
    /// error where a script gives anything else.
    pub(crate) fn start(values: &[Option<String>]) -> Option<Self> {
        let program = std::env::var_os("TIDELOCK_BENCH_PEERS")?;
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let expected: Vec<Option<String>> =
            native::rows(values.to_vec()).into_iter().map(|row| row.unwrap_or_else(|_| Some("!".to_owned()))).collect();
        writeln!(input, "{}", serde_json::json!({"values": values, "expected": expected})).unwrap();
        Some(Self { child, input, output })
    }

    /// One batch of each script; adds nanoseconds per value to the costs, by name.
    pub(crate) fn round(&mut self, costs: &mut Vec<(String, Vec<f64>)>) {
        writeln!(self.input).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let round: Vec<(String, f64)> = serde_json::from_str(&line).expect("the peers give the same results");
        for (name, cost) in round {
            match costs.iter_mut().find(|(known, _)| *known == name) {
                Some((_, costs)) => costs.push(cost),
                None => costs.push((name, vec![cost])),
            }
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
