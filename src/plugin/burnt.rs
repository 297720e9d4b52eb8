//! Processor time: what a guest takes from others. On a busy machine a run's wall time is mostly time in which others ran.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this thread at some moment.
pub(super) struct Burnt(Duration);

impl Burnt {
    /// Now.
    pub(super) fn start() -> Self {
        Self(this_thread())
    }

    /// What this thread, the one that started, has burnt since.
    pub(super) fn so_far(&self) -> Duration {
        this_thread().saturating_sub(self.0)
    }
}

fn this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.try_into().unwrap_or_default());
    seconds + Duration::from_nanos(time.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_burns_nothing_and_work_does() {
        let started = Burnt::start();
        // A thread that is waited for works on its own account.
        let worked = std::thread::spawn(|| {
            let started = Burnt::start();
            while started.so_far() < Duration::from_millis(20) {}
            started.so_far()
        });
        let worked = worked.join().unwrap();
        assert!(worked >= Duration::from_millis(20) && started.so_far() < Duration::from_millis(20));
    }
}
