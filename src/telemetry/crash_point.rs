//! Places where a test makes the process die as a power failure would: right after each step that is durable (layer 1).
//!
//! `TIDELOCK_CRASH_AT=NAME` or `NAME:COUNT` aborts the process when it reaches that place the first or COUNTth time. Where nothing is
//! armed, passing one costs one load of memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A step that is durable once it is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// The state file was brought one version further.
    StateMigrated,
    /// Change tables and triggers are there, and the consumers are registered.
    TrackingMade,
    /// What a crash had left open is in the state as it was done.
    Recovered,
    /// A load was begun: its start positions are in the state.
    LoadBegun,
    /// Every record of both sides was carried over by a load.
    LoadScanned,
    /// A load is through.
    LoadEnded,
    /// Writes are on record with the conflicts whose losers they overwrite, and not done yet.
    Intended,
    /// A batch was written to the target.
    WrittenTarget,
    /// A batch was written to the source.
    WrittenSource,
    /// Links, bases, reviews and positions of a batch are in the state.
    BatchCommitted,
    /// A source was told that a batch is done.
    Acknowledged,
}

impl CrashPoint {
    /// All of them, in the order in which a first run with edits on both sides passes them.
    pub const ALL: [Self; 11] = [
        Self::StateMigrated,
        Self::TrackingMade,
        Self::LoadBegun,
        Self::Recovered,
        Self::LoadScanned,
        Self::LoadEnded,
        Self::Intended,
        Self::WrittenTarget,
        Self::WrittenSource,
        Self::BatchCommitted,
        Self::Acknowledged,
    ];

    /// Its name in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::StateMigrated => "migration",
            Self::TrackingMade => "prepare.tracking_made",
            Self::Recovered => "start.recovered",
            Self::LoadBegun => "load.begun",
            Self::LoadScanned => "load.scanned",
            Self::LoadEnded => "load.ended",
            Self::Intended => "batch.intended",
            Self::WrittenTarget => "batch.written_target",
            Self::WrittenSource => "batch.written_source",
            Self::BatchCommitted => "batch.committed",
            Self::Acknowledged => "batch.acknowledged",
        }
    }

    /// Ends the process here if it was asked to.
    pub fn pass(self) {
        if let Some(armed) = ARMED.get()
            && armed.point == self
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            std::process::abort();
        }
    }
}

struct Armed {
    point: CrashPoint,
    left: AtomicU32,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms a point, as the environment variable says: `NAME` or `NAME:COUNT`. Once a process.
///
/// # Errors
/// Where there is no such point, or the count is none.
pub fn arm(said: &str) -> Result<(), String> {
    let armed = parse(said)?;
    // A second one changes nothing.
    ARMED.set(armed).or(Ok(()))
}

fn parse(said: &str) -> Result<Armed, String> {
    let (name, count) = said.split_once(':').unwrap_or((said, "1"));
    let point = CrashPoint::ALL.into_iter().find(|point| point.name() == name);
    let names = || CrashPoint::ALL.map(CrashPoint::name).join(", ");
    let point = point.ok_or_else(|| format!("TIDELOCK_CRASH_AT: \"{name}\" is none of {}", names()))?;
    match count.parse() {
        Ok(count) if count > 0 => Ok(Armed { point, left: AtomicU32::new(count) }),
        Ok(_) | Err(_) => Err(format!("TIDELOCK_CRASH_AT: \"{count}\" is no count: write {name}:1 or more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_count_are_read_and_nothing_else() {
        for point in CrashPoint::ALL {
            assert_eq!(parse(point.name()).map(|armed| armed.point), Ok(point));
        }
        assert_eq!(parse("load.begun:3").map(|armed| armed.left.into_inner()), Ok(3));
        for wrong in ["load", "load.begun:0", "load.begun:x", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
