//! One pair's worker: open → load → follow the changes of both sides (`following`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::following::Following;
use super::load;
use super::open::{OpenError, OpenPair, endpoint, open, open_to_look};
use super::read_only::read_only;
use super::schema_drift::Lookout;
use super::status::{Phase, Reporter, describe};
use crate::change::End;
use crate::config::{PairConfig, Problem};
use crate::error::{Disposition, ErrorKind, Result, SyncError};
use crate::pipeline::binding::is_renewed;
use crate::pipeline::{Pipeline, Watch};
use crate::plugin::Catalogue;
use crate::state::{Progress, StateStore};
use crate::telemetry::CrashPoint;

/// A paused pair looks again this often whether it was helped.
const PAUSED_RETRY: Duration = Duration::from_secs(15);

/// How soon it is noticed that a person has paused the pair or decided something.
const PERSON_CHECK: Duration = Duration::from_secs(1);

/// What a worker needs.
pub struct Worker {
    /// The pair.
    pub config: Arc<PairConfig>,
    /// The durable state.
    pub state: Arc<dyn StateStore>,
    /// The plugins.
    pub catalogue: Arc<dyn Catalogue>,
    /// Says what the pair is doing.
    pub reporter: Reporter,
    /// What was done lately: it outlives connections, or a lost one would let more deletes through.
    pub watch: Arc<Watch>,
}

/// Why a worker that was to run once did not get through.
#[derive(Debug)]
pub enum Failure {
    /// The configuration does not fit the systems.
    Configuration(Vec<Problem>),
    /// Something failed at run time.
    Run(SyncError),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Configuration(problems) => Self::Configuration(problems),
            OpenError::System(error) => Self::Run(error),
        }
    }
}

impl Worker {
    /// Loads and drains until both sides are quiet.
    ///
    /// # Errors
    /// Where it could not get through; what was committed stays.
    pub async fn once(&self, shutdown: &CancellationToken) -> Result<(), Failure> {
        let mut backoff = Backoff::new(self.config.retry);
        let mut reached = false;
        let outcome = loop {
            let drained = match self.open().await {
                Ok(pair) => {
                    reached = true;
                    if self.config.rollout.read_only {
                        self.look(pair, shutdown).await
                    } else {
                        self.drain(pair, shutdown).await
                    }
                }
                Err(OpenError::System(error)) if reached => Err(error),
                // What cannot be reached at all is said at once, not after minutes of retries.
                Err(error) => break Err(error.into()),
            };
            let Err(error) = drained else { break Ok(()) };
            if shutdown.is_cancelled() {
                break Err(Failure::Run(error));
            }
            match (error.disposition(), backoff.failed(error.retry_after)) {
                (Disposition::Retry | Disposition::Recheck, Some(delay)) => {
                    self.wait_to_retry(&error, delay, shutdown).await;
                }
                _ => break Err(Failure::Run(error)),
            }
        };
        self.reporter.phase(Phase::Stopped);
        outcome
    }

    /// Runs until `shutdown`: retries what may pass, pauses and says so where only a person can help.
    pub async fn serve(&self, shutdown: &CancellationToken) {
        let mut backoff = Backoff::new(self.config.retry);
        while !shutdown.is_cancelled() {
            if self.paused().await {
                self.reporter.phase(Phase::Paused("by `tidelock pause`; `tidelock resume` lets it go on".to_owned()));
                tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(PERSON_CHECK) => {} }
                continue;
            }
            let outcome = match self.open().await {
                Ok(pair) if self.config.rollout.read_only => self.look_on(pair, shutdown, &mut backoff).await,
                Ok(pair) => self.follow(pair, shutdown, &mut backoff).await,
                Err(OpenError::Configuration(problems)) => {
                    let reasons: Vec<String> =
                        problems.iter().map(|problem| format!("{}: {}", problem.at, problem.message)).collect();
                    self.pause(&reasons.join("; "), shutdown).await;
                    continue;
                }
                Err(OpenError::System(error)) => Err(error),
            };
            let Err(error) = outcome else { continue };
            if shutdown.is_cancelled() {
                break;
            }
            match (error.disposition(), backoff.failed(error.retry_after)) {
                (Disposition::Retry | Disposition::Recheck, Some(delay)) => {
                    self.wait_to_retry(&error, delay, shutdown).await;
                }
                (Disposition::Retry | Disposition::Recheck, None) => {
                    let tries = self.config.retry.max_attempts;
                    let reason =
                        format!("{}; failed {tries} times and is now tried every {PAUSED_RETRY:?}", describe(&error));
                    self.pause(&reason, shutdown).await;
                }
                (Disposition::Review | Disposition::Pause, _) => self.pause(&describe(&error), shutdown).await,
            }
        }
        self.reporter.phase(Phase::Stopped);
    }

    /// Whether a person has paused the pair. A state file that cannot be read says so at the next batch. Every pair looks for itself: one
    /// index search of a local file is not worth a task and a channel that all workers would share.
    async fn paused(&self) -> bool {
        self.state.progress(&self.config.name).await.is_ok_and(|progress| progress.paused)
    }

    /// Returns once a person has paused the pair, asked for a resync or decided something about it, or another pair has linked what records wait for.
    /// Cancel-safe.
    pub(super) async fn asked_for(&self) {
        let some = async {
            while !matches!(self.state.asked_resync(&self.config.name).await, Ok(Some(_))) {
                tokio::time::sleep(PERSON_CHECK).await;
            }
        };
        tokio::select! {
            () = self.until(|now| now.paused || now.resync || now.decisions || now.arrived) => {}
            () = some => {}
        }
    }

    /// Returns once `asked` holds. Cancel-safe.
    async fn until(&self, asked: impl Fn(&Progress) -> bool) {
        loop {
            tokio::time::sleep(PERSON_CHECK).await;
            if self.state.progress(&self.config.name).await.is_ok_and(|progress| asked(&progress)) {
                return;
            }
        }
    }

    /// Carries out what people have decided about reviews, and nothing else.
    ///
    /// # Errors
    /// Where it could not get through; what was committed stays.
    pub async fn decide(&self) -> Result<(), Failure> {
        if self.config.rollout.read_only {
            return Err(Failure::Run(read_only(&self.config.name)));
        }
        let pair = self.open().await?;
        let all = async {
            pair.pipeline.recover().await?;
            while self.carry_out(&pair.pipeline).await? {}
            Ok(())
        };
        all.await.map_err(Failure::Run)
    }

    /// A batch of decisions, in the order of the records' keys; whether there was any.
    pub(crate) async fn carry_out(&self, pipeline: &Pipeline) -> Result<bool> {
        let decisions = self.state.decisions(&self.config.name, self.config.batch_size).await?;
        if decisions.is_empty() {
            return Ok(false);
        }
        self.reporter.batch(&pipeline.carry_out(decisions).await?);
        Ok(true)
    }

    async fn open(&self) -> std::result::Result<OpenPair, OpenError> {
        self.reporter.connecting();
        let (config, state, catalogue) =
            (Arc::clone(&self.config), Arc::clone(&self.state), Arc::clone(&self.catalogue));
        let looks = self.config.rollout.read_only;
        if !looks {
            self.face_drift().await?;
            self.make_target().await?;
        }
        let opened =
            if looks { open_to_look(config, state, catalogue).await } else { open(config, state, catalogue).await };
        let mut pair = opened?;
        pair.pipeline.watch = Arc::clone(&self.watch);
        for warning in &pair.warnings {
            tracing::warn!(pair = %self.config.name, code = warning.code, "{}", warning.message);
        }
        Ok(pair)
    }

    async fn wait_to_retry(&self, error: &SyncError, delay: Duration, shutdown: &CancellationToken) {
        let reason = describe(error);
        tracing::warn!(pair = %self.config.name, code = error.code, delay_ms = delay.as_millis(), "will try again: {reason}");
        self.reporter.phase(Phase::Retrying(reason));
        tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(delay) => {} }
    }

    async fn pause(&self, reason: &str, shutdown: &CancellationToken) {
        tracing::error!(pair = %self.config.name, "paused: {reason}");
        self.reporter.phase(Phase::Paused(reason.to_owned()));
        tokio::select! {
            () = shutdown.cancelled() => {},
            () = tokio::time::sleep(PAUSED_RETRY) => {},
            () = self.until(|progress| progress.resync) => {},
        }
    }

    async fn drain(&self, pair: OpenPair, shutdown: &CancellationToken) -> Result<()> {
        let mut following = self.start(pair, shutdown).await?;
        self.reporter.phase(Phase::Live);
        // Changes first: what one of them frees lets another try succeed.
        while following.turn().await?
            || following.take_up_waiting().await?
            || following.take_up_resyncs(shutdown).await?
            || self.carry_out(&following.pair.pipeline).await?
        {
            if shutdown.is_cancelled() {
                following.finish().await?;
                return Err(interrupted(&self.config.name));
            }
        }
        following.commit_positions().await
    }

    async fn follow(&self, pair: OpenPair, shutdown: &CancellationToken, backoff: &mut Backoff) -> Result<()> {
        let mut following = self.start(pair, shutdown).await?;
        let mut live = false;
        let (mut checked, mut lookout) = (Instant::now(), Lookout::new());
        // One batch of decisions a turn: changes flow on while many are carried out.
        let mut decisions = false;
        while !shutdown.is_cancelled() {
            if checked.elapsed() >= PERSON_CHECK {
                checked = Instant::now();
                let progress = self.state.progress(&self.config.name).await?;
                let drift = lookout.sees_drift(&self.config, &following.pair.schemas).await;
                if progress.paused || progress.resync || drift {
                    break;
                }
                decisions |= progress.decisions;
                following.take_up_resyncs(shutdown).await?;
            }
            if decisions {
                decisions = following.carry_out().await?;
            }
            let busy = following.turn().await? || following.take_up_waiting().await? || decisions;
            // Failures in a row are counted: under a load that never ends there is no idle moment.
            backoff.reset();
            if !std::mem::replace(&mut live, true) {
                self.reporter.phase(Phase::Live);
                tracing::info!(pair = %self.config.name, "live");
            }
            if !busy {
                following.commit_idle_positions().await?;
                following.wait(shutdown).await?;
            }
        }
        following.commit_positions().await
    }

    /// Prepares the streams, loads what was never loaded, finishes what a crash left half-done.
    pub(crate) async fn start(&self, mut pair: OpenPair, shutdown: &CancellationToken) -> Result<Following<'_>> {
        self.keep_shapes(&pair.schemas).await?;
        let mapping = load::goes_by(&pair);
        let progress = self.prepare(&mut pair, &mapping).await?;
        pair.pipeline.recover().await?;
        CrashPoint::Recovered.pass();
        if !progress.loaded {
            self.reporter.phase(Phase::Loading);
            tracing::info!(pair = %self.config.name, "loading");
            Arc::make_mut(&mut pair.pipeline.binding).renewed = is_renewed(progress.mapping.as_deref(), &mapping);
            load::run(&pair.pipeline, (mapping, progress.load), self.config.batch_size, &self.reporter, shutdown)
                .await?;
            Arc::make_mut(&mut pair.pipeline.binding).renewed = false;
        }
        Ok(Following::new(pair, self, progress.positions))
    }

    /// Prepares the streams and says where to go on: where they stood; with a load, if the mapping has changed; or, if there was no such
    /// stream before or a person asked for it, with a load from where they are now. A stream that was lost is never begun again unasked.
    async fn prepare(&self, pair: &mut OpenPair, mapping: &str) -> Result<Progress> {
        let name = &pair.pipeline.binding.pair;
        let stored = self.state.progress(name).await?;
        let mut fresh = Progress::default();
        for end in [End::Source, End::Target] {
            if *pair.pipeline.binding.flows.get(end) {
                let source = pair.sources.get_mut(end);
                *fresh.incarnations.get_mut(end) = Some(source.prepare().await?);
                *fresh.positions.get_mut(end) = Some(source.head().await?);
            }
        }
        CrashPoint::TrackingMade.pass();
        fresh.mapping.clone_from(&stored.mapping);
        if stored.resync {
            tracing::info!(pair = %self.config.name, "a resync was asked for: both sides are compared in full");
        } else if stored.incarnations == fresh.incarnations {
            // What a load was stopped in is done by the next, whatever its mapping was.
            if !stored.loaded || stored.mapping.as_deref() == Some(mapping) {
                return Ok(stored);
            }
            tracing::warn!(pair = %self.config.name, "the mapping or the rollout has changed: both sides are compared in full");
            // The changes since then are still to come: deletes are known from nothing else.
            fresh.positions = stored.positions;
        } else if let Some(end) = lost(&stored, &fresh) {
            return Err(stream_lost(&self.config, end, pair.pipeline.binding.upsert_only));
        }
        self.state.begin_load(name, &fresh).await?;
        CrashPoint::LoadBegun.pass();
        Ok(fresh)
    }
}

/// The end whose stream is not the one that the stored position belongs to, if the pair was ever loaded: what was changed in between is
/// known from nowhere.
fn lost(stored: &Progress, fresh: &Progress) -> Option<End> {
    let loaded = stored.loaded || stored.mapping.is_some();
    let other = |end: &End| match (stored.incarnations.get(*end), fresh.incarnations.get(*end)) {
        (Some(before), Some(now)) => before != now,
        (None, _) | (_, None) => false,
    };
    [End::Source, End::Target].into_iter().filter(|_| loaded).find(other)
}

fn stream_lost(config: &PairConfig, end: End, copy: bool) -> SyncError {
    let (name, endpoint) = (&config.name, endpoint(config, end));
    // A copy keeps no links: what was deleted while nobody looked cannot be told from what was only ever on the target.
    let how = if copy {
        "copies the source in full and goes on; `tidelock audit` then names what the source no longer has"
    } else {
        "compares both sides in full, deletes included, and goes on"
    };
    let text = format!(
        "the {} \"{}\", {}: its change stream is another than the one that pair {name} followed (the tracking was removed, the table or \
         database was restored, or \"change_detection\" was changed), so changes may have been missed; `tidelock resync {name}` {how}",
        end.name(),
        endpoint.name,
        endpoint.collection
    );
    SyncError::new(ErrorKind::SchemaMismatch, "source.stream_lost", text)
}

/// Stopped before all was done: success must not be reported (I3).
pub(super) fn interrupted(pair: &str) -> SyncError {
    let text = format!("pair {pair}: stopped before everything was carried over; run it again to go on");
    SyncError::new(ErrorKind::Unavailable, "run.interrupted", text)
}
