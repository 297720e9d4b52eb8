//! What was asked of the sandbox, for people and for tests that count requests. Tokens and bodies are not in it.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};

/// Older entries are forgotten; the counts go on.
const ENTRIES_MAX: usize = 10_000;

/// One request.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// By the sandbox's clock.
    pub(super) at: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    /// Who said so in `Sforce-Call-Options`.
    pub(super) client: Option<String>,
    pub(super) status: u16,
    pub(super) faults: Vec<&'static str>,
    pub(super) bytes_in: usize,
    pub(super) bytes_out: usize,
}

/// All of them, as far as they are kept.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    counts: BTreeMap<String, u64>,
    total: u64,
}

impl Journal {
    /// Notes a request; its number is set here.
    pub(super) fn note(&mut self, mut entry: Entry, kind: &str) {
        self.total += 1;
        entry.number = self.total;
        *self.counts.entry(format!("{} {kind}", entry.method)).or_insert(0) += 1;
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// The entries after a number, and how many there were of each kind.
    pub(super) fn tell(&self, since: u64) -> Value {
        let entries: Vec<&Entry> = self.entries.iter().filter(|entry| entry.number > since).collect();
        json!({"total": self.total, "counts": self.counts, "entries": entries})
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
