//! Which numbers of a change table can still come (layer 4).
//!
//! A number that is missing belongs to a transaction that was rolled back, or to one that runs. Every trigger takes a shared lock on one
//! of a few rows, the gates, *before* it is given a number, and holds it until its transaction ends. So once each gate was
//! seen free after a number was seen missing, whoever was given the number has ended: it is there now, or never will be. Which
//! gate is taken goes by the second, so that those who come later do not keep all of them busy. Writers never wait for each other
//! here, nor does the reader, who passes over what is locked.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, MySqlConnection};

use super::errors::Sql;
use super::position::Range;
use super::table::Table;
use crate::connector::change_log::list;

/// Each is taken by those who begin within one second of so many.
const GATES: i64 = 16;

/// The table of gates, quoted.
pub(super) fn table(of: &Table) -> String {
    of.beside("tidelock_gates")
}

/// Makes the gates.
pub(super) fn definition(of: &Table) -> String {
    let rows = list((0..GATES).map(|gate| format!("({gate})")));
    format!(
        "CREATE TABLE IF NOT EXISTS {gates} (gate int PRIMARY KEY) ENGINE = InnoDB; INSERT IGNORE INTO {gates} (gate) VALUES {rows}",
        gates = table(of)
    )
}

/// What a trigger does before it is given a number; `tidelock_gate` is a variable of it.
pub(super) fn enter(of: &Table) -> String {
    format!(
        "SELECT gate INTO tidelock_gate FROM {} WHERE gate = UNIX_TIMESTAMP() MOD {GATES} LOCK IN SHARE MODE",
        table(of)
    )
}

/// Numbers that were missing, and what was seen of the gates since.
#[derive(Debug)]
pub(super) struct Probe {
    /// The missing numbers.
    pub(super) missing: Vec<Range>,
    free: BTreeSet<i64>,
}

impl Probe {
    /// For numbers that are missing now.
    pub(super) fn new(missing: Vec<Range>) -> Self {
        Self { missing, free: BTreeSet::new() }
    }

    /// Whether everybody who was given one of the numbers has ended.
    pub(super) fn is_over(&self) -> bool {
        (0..GATES).all(|gate| self.free.contains(&gate))
    }

    /// Looks which gates are free.
    pub(super) async fn look(&mut self, connection: &mut MySqlConnection, of: &Table) -> Sql<()> {
        let sql = format!("SELECT gate FROM {} FOR UPDATE SKIP LOCKED", table(of));
        let free: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await?;
        self.free.extend(free.into_iter().map(i64::from));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gate_has_to_be_seen_free() {
        let mut probe = Probe::new(vec![(1, 2)]);
        probe.free.extend(1..GATES);
        assert!(!probe.is_over());
        probe.free.insert(0);
        assert!(probe.is_over());
    }
}
