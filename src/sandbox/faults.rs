//! What goes wrong on purpose: by rule ("the third request that matches") or by chance, which a seed makes the same in every run.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::exchange::Request;

/// A script of faults, as it stands in the file.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Chance follows from it.
    #[serde(default)]
    pub seed: u64,
    /// Each is asked about every request.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// When a fault strikes. Without `nth`, `every` and `probability` it strikes at each request that matches.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The method, in any case. `RPC` is a call of the Pub/Sub API, whose body is what it names; `PUBLISH` a change event as it is made, and `EVENT`
    /// one as it is delivered: their path is the channel, their body the event's header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the decoded path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A part of the body, or of a parameter of the query such as the SOQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Only the n-th request that matches; the first is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Every n-th request that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// From 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Strikes so often and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The request takes effect, and the connection closes without an answer.
    LostResponse,
    /// The connection closes before the request takes effect.
    DroppedRequest,
    /// The request takes effect, and the connection closes in the middle of the answer.
    ConnectionReset,
    /// 403 `REQUEST_LIMIT_EXCEEDED`, as if the day's requests were used up.
    RequestLimit,
    /// 403 `REQUEST_LIMIT_EXCEEDED`, for too many at once.
    ConcurrentLimit,
    /// Records are locked by somebody else.
    LockedRow {
        /// How many of them, from 0 to 1.
        share: f64,
    },
    /// 401, and the session is over.
    SessionExpired,
    /// 503 with a body that is no JSON.
    Unavailable,
    /// The answer comes late.
    Delay {
        /// Milliseconds of real time.
        ms: u64,
    },
    /// A page holds no more records than this.
    ShortPage {
        /// At least 1.
        records: usize,
    },
    /// What is written carries the time at which its transaction began, this long before it is seen.
    LateCommit {
        /// Seconds.
        seconds: i64,
    },
    /// An upsert that changed a record answers 204 without a body, as older versions do.
    NoContent,
    /// The locator of the next page is not known any more.
    ExpiredLocator,
    /// A job that this request starts is worked at so much later, whether somebody asks about it or not.
    SlowJob {
        /// Milliseconds of the sandbox's clock.
        ms: i64,
    },
    /// A job that this request starts fails after so many records; those stay.
    FailedJob {
        /// 0: it fails before the first.
        after: usize,
    },
    /// A change event carries no values: of a `PUBLISH`.
    GapEvent,
    /// The change events of the rest of a transaction are one that names no records: of a `PUBLISH`.
    OverflowEvent,
    /// A subscription's replay id is not known any more: of an `RPC`.
    CorruptedReplay,
}

impl Fault {
    /// As in the script.
    fn name(self) -> &'static str {
        match self {
            Self::LostResponse => "lost_response",
            Self::DroppedRequest => "dropped_request",
            Self::ConnectionReset => "connection_reset",
            Self::RequestLimit => "request_limit",
            Self::ConcurrentLimit => "concurrent_limit",
            Self::LockedRow { .. } => "locked_row",
            Self::SessionExpired => "session_expired",
            Self::Unavailable => "unavailable",
            Self::Delay { .. } => "delay",
            Self::ShortPage { .. } => "short_page",
            Self::LateCommit { .. } => "late_commit",
            Self::NoContent => "no_content",
            Self::ExpiredLocator => "expired_locator",
            Self::SlowJob { .. } => "slow_job",
            Self::FailedJob { .. } => "failed_job",
            Self::GapEvent => "gap_event",
            Self::OverflowEvent => "overflow_event",
            Self::CorruptedReplay => "corrupted_replay",
        }
    }
}

/// What strikes one request.
#[derive(Debug, Default, Clone)]
pub(super) struct Struck(Vec<Fault>);

impl Struck {
    /// Whether this is among it.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// The first answer that one of them gives.
    pub(super) fn find<T>(&self, pick: impl Fn(Fault) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|fault| pick(*fault))
    }

    /// For the journal.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|fault| fault.name()).collect()
    }
}

/// The script, and how far it has come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    script: Script,
    /// Of each rule: how many requests matched, and how often it struck.
    counts: Vec<(u64, u64)>,
    draws: u64,
}

impl Faults {
    pub(super) fn new(script: Script) -> Self {
        Self { counts: vec![(0, 0); script.rules.len()], script, draws: 0 }
    }

    pub(super) fn script(&self) -> &Script {
        &self.script
    }

    /// What strikes this request.
    pub(super) fn strike(&mut self, request: &Request) -> Struck {
        let mut struck = Struck::default();
        for (place, (rule, (matched, strikes))) in (0_u64..).zip(self.script.rules.iter().zip(&mut self.counts)) {
            if !matches(rule, request) {
                continue;
            }
            *matched += 1;
            let strikes_now = rule.nth.is_none_or(|nth| *matched == nth)
                && rule.every.is_none_or(|every| *matched % every.max(1) == 0)
                && rule.times.is_none_or(|times| *strikes < times)
                && rule.probability.is_none_or(|wanted| draw(self.script.seed, place, *matched) < wanted);
            if strikes_now {
                *strikes += 1;
                struck.0.push(rule.fault);
            }
        }
        struck
    }

    /// True in this share of the cases.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.draws += 1;
        draw(self.script.seed, u64::MAX, self.draws) < share
    }
}

/// What is no request: a rule has to name it.
const EVENTS: &[&str] = &["PUBLISH", "EVENT"];

fn matches(rule: &Rule, request: &Request) -> bool {
    if rule.method.is_none() && EVENTS.contains(&request.method.as_str()) {
        return false;
    }
    let contained = |part: &String| {
        String::from_utf8_lossy(&request.body).contains(part.as_str())
            || request.query.iter().any(|(_, value)| value.contains(part.as_str()))
    };
    rule.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&request.method))
        && rule.path.as_ref().is_none_or(|part| request.path().contains(part.as_str()))
        && rule.contains.as_ref().is_none_or(contained)
}

/// From 0 to 1, the same for the same numbers.
fn draw(seed: u64, stream: u64, number: u64) -> f64 {
    let mut digest = Sha256::new();
    for part in [seed, stream, number] {
        digest.update(part.to_le_bytes());
    }
    let first = digest.finalize().first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    f64::from(first) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strikes(rule: &str, requests: usize) -> Vec<usize> {
        let script = format!(r#"{{"seed": 7, "rules": [{rule}]}}"#);
        let mut faults = Faults::new(serde_json::from_str(&script).unwrap());
        let request = Request::new("GET", "/query?q=SELECT", axum::http::HeaderMap::new(), Vec::new());
        (1..=requests).filter(|_| !faults.strike(&request).names().is_empty()).collect()
    }

    #[test]
    fn rules_strike_when_they_say() {
        assert_eq!(strikes(r#"{"path": "/query", "nth": 3, "fault": "unavailable"}"#, 9), [3]);
        assert_eq!(strikes(r#"{"method": "get", "every": 4, "fault": {"delay": {"ms": 1}}}"#, 9), [4, 8]);
        assert_eq!(strikes(r#"{"contains": "SELECT", "times": 2, "fault": "lost_response"}"#, 9), [1, 2]);
        assert!(strikes(r#"{"method": "POST", "fault": "lost_response"}"#, 9).is_empty());
        assert!(strikes(r#"{"path": "/jobs", "fault": "lost_response"}"#, 9).is_empty());
    }

    #[test]
    fn chance_is_as_often_as_asked_and_the_same_again() {
        let rule = r#"{"probability": 0.1, "fault": "lost_response"}"#;
        let struck = strikes(rule, 2_000);
        assert_eq!(struck, strikes(rule, 2_000));
        assert!((150..250).contains(&struck.len()), "{}", struck.len());
    }

    #[test]
    fn a_script_with_unknown_words_is_refused() {
        for wrong in
            [r#"{"rule": []}"#, r#"{"rules": [{"fault": "explode"}]}"#, r#"{"rules": [{"nht": 1, "fault": "delay"}]}"#]
        {
            assert!(serde_json::from_str::<Script>(wrong).is_err(), "{wrong}");
        }
    }
}
