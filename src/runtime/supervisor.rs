//! One worker per pair, as tasks of their own: what happens to one pair does not touch the others.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::status::{PairStatus, Phase, Reporter};
use super::worker::{Failure, Worker};
use crate::config::PairConfig;
use crate::error::{ErrorKind, SyncError};
use crate::plugin::Catalogue;
use crate::state::{Counts, StateStore};

/// Pairs that feed each other are run again at most this often: those that still write then do not come to rest.
const ROUNDS_MAX: u32 = 20;

/// Every pair's status, to read.
pub type Statuses = Vec<(Arc<str>, watch::Receiver<PairStatus>)>;

/// The workers of a service.
pub struct Supervisor {
    workers: Vec<Worker>,
    statuses: Statuses,
}

/// What became of a pair that was run once.
pub struct Outcome {
    /// Name of the pair.
    pub pair: Arc<str>,
    /// What it did.
    pub counts: Counts,
    /// Seconds it took.
    pub seconds: f64,
    /// What it would write, where the rollout lets nothing be written.
    pub would: Option<Arc<Plan>>,
    /// Why it did not get through.
    pub failure: Option<Failure>,
}

impl Supervisor {
    /// Workers for these pairs; nothing runs yet.
    pub fn new(pairs: Vec<PairConfig>, state: &Arc<dyn StateStore>, catalogue: &Arc<dyn Catalogue>) -> Self {
        let (mut workers, mut statuses) = (Vec::new(), Vec::new());
        for config in pairs {
            let (reporter, status) = Reporter::new();
            statuses.push((Arc::clone(&config.name), status));
            let (state, catalogue) = (Arc::clone(state), Arc::clone(catalogue));
            workers.push(Worker { config: Arc::new(config), state, catalogue, reporter, watch: Arc::default() });
        }
        Self { workers, statuses }
    }

    /// Every pair's status, to read.
    pub fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    /// Makes the targets that are to be made, first of all: what a pair looks up may be one, and its type be known by that only.
    async fn make_targets(&self) {
        for _ in &self.workers {
            let mut made = false;
            for worker in &self.workers {
                // Why it could not is told as the pair is opened.
                made |= worker.make_target().await.unwrap_or_default();
            }
            if !made {
                return;
            }
        }
    }

    /// Runs every pair until `shutdown`; a begun batch is finished first (I11).
    pub async fn serve(self, shutdown: CancellationToken) {
        self.make_targets().await;
        let mut tasks = JoinSet::new();
        for worker in self.workers {
            let shutdown = shutdown.clone();
            tasks.spawn(async move { worker.serve(&shutdown).await });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a pair's worker ended: {error}");
            }
        }
    }

    /// Runs every pair once, in the order of the configuration. Pairs that share a system may feed each other, so all are run again
    /// until a whole round has written nothing and nothing waits for what is there by now. Those that never get there are said to have
    /// failed: there is no telling what the systems would hold if they went on.
    pub async fn once(self, shutdown: CancellationToken) -> Vec<Outcome> {
        self.make_targets().await;
        let began: Vec<_> = self.workers.iter().map(|_| std::time::Duration::ZERO).collect();
        let mut seconds = began;
        let mut failures: Vec<Option<Failure>> = self.workers.iter().map(|_| None).collect();
        for round in 1..=ROUNDS_MAX {
            let before = self.written();
            for ((worker, spent), failure) in self.workers.iter().zip(&mut seconds).zip(&mut failures) {
                if failure.is_none() {
                    let start = std::time::Instant::now();
                    *failure = worker.once(&shutdown).await.err();
                    *spent += start.elapsed();
                }
            }
            let now = self.written();
            let quiet = self.workers.len() == 1 || (now == before && !self.may_go_on(round, &failures).await);
            if shutdown.is_cancelled() || quiet {
                break;
            }
            if round == ROUNDS_MAX {
                let restless =
                    failures.iter_mut().zip(before.iter().zip(&now)).filter(|(_, (before, now))| before != now);
                restless
                    .for_each(|(failure, _)| *failure = failure.take().or_else(|| Some(Failure::Run(restlessness()))));
            }
        }
        let outcome = |((worker, spent), failure): ((Worker, std::time::Duration), Option<Failure>)| Outcome {
            pair: Arc::clone(&worker.config.name),
            counts: worker.reporter.counts(),
            seconds: spent.as_secs_f64(),
            would: worker.reporter.told(),
            failure,
        };
        self.workers.into_iter().zip(seconds).zip(failures).map(outcome).collect()
    }

    /// Whether another round may help records of a pair that runs: what they wait for is there by now, or, after the first round, a pair
    /// that ran before them has closed a circle with theirs.
    async fn may_go_on(&self, round: u32, failures: &[Option<Failure>]) -> bool {
        for (worker, _) in self.workers.iter().zip(failures).filter(|(_, failure)| failure.is_none()) {
            let progress = worker.state.progress(&worker.config.name).await.unwrap_or_default();
            if progress.arrived || (progress.waiting && round == 1) {
                return true;
            }
        }
        false
    }

    /// How many records each pair has written so far.
    fn written(&self) -> Vec<u64> {
        let counts = self.workers.iter().map(|worker| worker.reporter.counts());
        counts.map(|counts| counts.written_source + counts.written_target).collect()
    }
}

/// Why a pair that never comes to rest has failed.
fn restlessness() -> SyncError {
    let text = format!(
        "it still wrote records in the last of {ROUNDS_MAX} rounds: it and another pair set the same fields to different values, \
         again and again; look for mappings that contradict each other"
    );
    SyncError::new(ErrorKind::VersionMismatch, "run.restless", text)
}

/// Whether every pair is connected and not stuck; else the ones that are not, and why.
pub fn unready(statuses: &Statuses) -> Vec<(Arc<str>, PairStatus)> {
    let stuck = |phase: &Phase| matches!(phase, Phase::Connecting | Phase::Retrying(_) | Phase::Paused(_));
    let now = statuses.iter().map(|(name, status)| (Arc::clone(name), status.borrow().clone()));
    now.filter(|(_, status)| stuck(&status.phase)).collect()
}
