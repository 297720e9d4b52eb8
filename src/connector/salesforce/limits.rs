//! What an org lets its clients ask (layer 4): requests of the last 24 hours, told with each answer, and requests a second. One budget for all
//! pairs of an org; a part of the day's requests is left to others.

use std::time::Duration;

use tokio::time::Instant;

use super::errors::LIMIT_PAUSE;

/// So much of the day's requests is left to others, in percent.
const RESERVE_PERCENT: u64 = 10;
/// Requests that may be made at once …
const BURST: u32 = 50;
/// … and how long it takes until one more may be made.
const REFILL: Duration = Duration::from_millis(20);

/// What is known, and what may be asked.
#[derive(Debug)]
pub(super) struct Limits {
    /// Used and allowed, as the last answer said.
    usage: Option<(u64, u64)>,
    /// Nothing is asked before.
    closed_until: Option<Instant>,
    /// When all of the burst may be used again.
    full_at: Instant,
}

/// What a request has to do first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Wait so long, then go on.
    After(Duration),
    /// Give up: nothing may be asked for so long.
    Closed(Duration),
}

impl Limits {
    pub(super) fn new(now: Instant) -> Self {
        Self { usage: None, closed_until: None, full_at: now }
    }

    /// Takes a place for one request.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Admission::Closed(until - now);
        }
        if self.closed_until.take().is_none() && self.is_reserve() {
            self.closed_until = Some(now + LIMIT_PAUSE);
            return Admission::Closed(LIMIT_PAUSE);
        }
        self.full_at = self.full_at.max(now) + REFILL;
        Admission::After((self.full_at - now).saturating_sub(REFILL * BURST))
    }

    /// Takes note of `Sforce-Limit-Info: api-usage=18/15000`.
    pub(super) fn note(&mut self, header: &str) {
        let usage = header.split([';', ',']).find_map(|part| part.trim().strip_prefix("api-usage="));
        let numbers = usage.and_then(|usage| usage.split_once('/'));
        self.usage = numbers.and_then(|(used, of)| Some((used.parse().ok()?, of.parse().ok()?))).or(self.usage);
    }

    /// The org has refused one: nothing is asked for a while.
    pub(super) fn close(&mut self, now: Instant, pause: Duration) {
        self.closed_until = Some(now + pause);
    }

    /// Used and allowed, as the last answer said.
    pub(super) fn usage(&self) -> Option<(u64, u64)> {
        self.usage
    }

    fn is_reserve(&self) -> bool {
        self.usage.is_some_and(|(used, of)| used >= of - of * RESERVE_PERCENT / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_left_alone_but_for_a_look_now_and_then() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        limits.note("api-usage=8999/10000");
        assert_eq!(limits.admit(now), Admission::After(Duration::ZERO));
        limits.note("api-usage=9000/10000; per-app-api-usage=17/250(appName=x)");
        assert_eq!(limits.admit(now), Admission::Closed(LIMIT_PAUSE));
        assert_eq!(limits.admit(now + LIMIT_PAUSE / 2), Admission::Closed(LIMIT_PAUSE / 2));
        let later = now + LIMIT_PAUSE;
        assert_eq!(limits.admit(later), Admission::After(Duration::ZERO), "one request, whose answer tells the usage");
        assert_eq!(limits.admit(later), Admission::Closed(LIMIT_PAUSE));
        limits.note("api-usage=10/10000");
        assert_eq!(limits.admit(later + LIMIT_PAUSE), Admission::After(Duration::ZERO));
    }

    #[test]
    fn a_header_that_says_nothing_changes_nothing() {
        let mut limits = Limits::new(Instant::now());
        limits.note("api-usage=18/15000");
        limits.note("nonsense");
        assert_eq!(limits.usage(), Some((18, 15000)));
    }

    #[test]
    fn more_than_a_burst_is_spread() {
        let now = Instant::now();
        let mut limits = Limits::new(now);
        let waits: Vec<Admission> = (0..BURST + 2).map(|_| limits.admit(now)).collect();
        assert_eq!(waits[usize::try_from(BURST).unwrap() - 1], Admission::After(Duration::ZERO));
        assert_eq!(waits.last(), Some(&Admission::After(REFILL * 2)));
    }
}
