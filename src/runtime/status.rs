//! What a pair is doing right now, for `/readyz`, progress bars and the demo.

use std::sync::Arc;

use tokio::sync::watch;

use super::plan::Plan;
use crate::error::SyncError;
use crate::state::Counts;

/// What a pair is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Reaching both systems.
    Connecting,
    /// Bringing both sides together for the first time.
    Loading,
    /// Following changes.
    Live,
    /// Looking on: the rollout lets nothing be written.
    ReadOnly,
    /// Waiting before another try; the text says why.
    Retrying(String),
    /// Waiting for a person; the text says why.
    Paused(String),
    /// Done: `--once`, or stopped.
    Stopped,
}

impl Phase {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Loading => "loading",
            Self::Live => "live",
            Self::ReadOnly => "read_only",
            Self::Retrying(_) => "retrying",
            Self::Paused(_) => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// Why it waits.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Retrying(reason) | Self::Paused(reason) => Some(reason),
            Self::Connecting | Self::Loading | Self::Live | Self::ReadOnly | Self::Stopped => None,
        }
    }
}

/// A pair's state as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairStatus {
    /// What it is doing.
    pub phase: Phase,
    /// What it did since this process began.
    pub counts: Counts,
    /// Batches committed since this process began.
    pub batches: u64,
    /// What would be written, where the rollout lets nothing be written.
    pub would: Option<Arc<Plan>>,
    /// What people should know of its change streams, though it goes on.
    pub notice: Option<String>,
}

/// The writing half of a pair's status.
#[derive(Debug)]
pub struct Reporter(watch::Sender<PairStatus>);

impl Reporter {
    /// A reporter and the first of its readers.
    pub fn new() -> (Self, watch::Receiver<PairStatus>) {
        let (phase, counts) = (Phase::Connecting, Counts::default());
        let (sender, receiver) = watch::channel(PairStatus { phase, counts, batches: 0, would: None, notice: None });
        (Self(sender), receiver)
    }

    /// Says what the pair is doing.
    pub fn phase(&self, phase: Phase) {
        self.0.send_if_modified(|status| {
            let new = status.phase != phase;
            status.phase = phase;
            new
        });
    }

    /// Says that both systems are reached for; while a pair is tried again the reason stays, until it works.
    pub fn connecting(&self) {
        if !matches!(self.0.borrow().phase, Phase::Retrying(_)) {
            self.phase(Phase::Connecting);
        }
    }

    /// Adds what a batch did.
    pub fn batch(&self, counts: &Counts) {
        self.0.send_modify(|status| {
            status.counts.add(counts);
            status.batches += 1;
        });
    }

    /// Says what people should know of its change streams.
    pub fn notice(&self, notice: Option<String>) {
        self.0.send_if_modified(|status| {
            let new = status.notice != notice;
            status.notice = notice;
            new
        });
    }

    /// Says what would be written.
    pub fn would(&self, plan: Plan) {
        self.0.send_modify(|status| status.would = Some(Arc::new(plan)));
    }

    /// What would be written, where that was said.
    pub fn told(&self) -> Option<Arc<Plan>> {
        self.0.borrow().would.clone()
    }

    /// What was said last.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }
}

/// The whole chain of an error, for people.
pub fn describe(error: &SyncError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
