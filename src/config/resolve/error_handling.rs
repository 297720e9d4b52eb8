//! `error_handling` (layer 2).

use std::time::Duration;

use super::Context;
use super::scope::Scope;
use crate::config::planned::{Channel, Notifications, Threshold};
use crate::config::raw::{self, Notification, Place};
use crate::config::{Retry, Secret};

const DEFAULT_RETRY: Retry = Retry {
    max_attempts: 5,
    backoff_factor: 2.0,
    initial_delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(300),
};

pub(super) fn error_handling(context: &mut Context<'_>, scope: &Scope<'_>) -> (Retry, Notifications) {
    let Some((_, raw)) = scope.find(|keys| keys.error_handling.as_ref()) else {
        return (DEFAULT_RETRY, Notifications::default());
    };
    for (key, said) in [("notification", &raw.notification), ("notifications", &raw.notifications)] {
        if said.is_some() {
            let at = context.at_key(raw.at, key);
            context.no_effect(&at, key, "nobody is told; errors are logged and shown in the status");
        }
    }
    (retry(context, raw), notifications(context, raw.at, [raw.notification.as_ref(), raw.notifications.as_ref()]))
}

fn retry(context: &mut Context<'_>, raw: &raw::ErrorHandling) -> Retry {
    let Some(raw) = &raw.retry_strategy else { return DEFAULT_RETRY };
    let delay = |seconds: Option<f64>| seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let initial_delay = delay(raw.initial_delay_seconds).unwrap_or(DEFAULT_RETRY.initial_delay);
    let max_delay = delay(raw.max_delay_seconds);
    if max_delay.is_some_and(|max_delay| max_delay < initial_delay) {
        let at = context.at_key(raw.at, "max_delay_seconds");
        let message = "\"max_delay_seconds\" is less than the first delay";
        context.report(crate::config::Problem::error(crate::config::codes::CONTRADICTION, &at, message));
    }
    Retry {
        max_attempts: raw.max_attempts.unwrap_or(DEFAULT_RETRY.max_attempts),
        backoff_factor: raw.backoff_factor.unwrap_or(DEFAULT_RETRY.backoff_factor),
        initial_delay,
        max_delay: max_delay.unwrap_or(DEFAULT_RETRY.max_delay.max(initial_delay)),
    }
}

/// Both spellings together; each key may stand in either.
fn notifications(context: &mut Context<'_>, place: Place, both: [Option<&Notification>; 2]) -> Notifications {
    let [first, second] = both.map(|said| said.map(one).unwrap_or_default());
    let differs = differ(&first.channels, &second.channels)
        || differ(&first.threshold, &second.threshold)
        || differ(&first.email, &second.email)
        || differ(&first.slack, &second.slack)
        || differ(&first.webhook, &second.webhook);
    if differs {
        let at = context.at_key(place, "notifications");
        context.contradiction(&at, "notification", "notifications");
    }
    Notifications {
        channels: first.channels.or(second.channels).unwrap_or_default(),
        threshold: first.threshold.or(second.threshold).unwrap_or_default(),
        email: first.email.or(second.email).unwrap_or_default(),
        slack: first.slack.or(second.slack),
        webhook: first.webhook.or(second.webhook).map(Secret::new),
    }
}

fn differ<T: PartialEq>(first: &Option<T>, second: &Option<T>) -> bool {
    first.is_some() && second.is_some() && first != second
}

/// One spelling as far as it says something.
#[derive(Default)]
struct Said {
    channels: Option<Vec<Channel>>,
    threshold: Option<Threshold>,
    email: Option<Vec<String>>,
    slack: Option<String>,
    webhook: Option<String>,
}

fn one(raw: &Notification) -> Said {
    let channel = |raw: &raw::Channel| match raw {
        raw::Channel::Slack => Channel::Slack,
        raw::Channel::Email => Channel::Email,
        raw::Channel::Webhook => Channel::Webhook,
    };
    let threshold = |raw: raw::Threshold| match raw {
        raw::Threshold::Info => Threshold::Info,
        raw::Threshold::Warning => Threshold::Warning,
        raw::Threshold::Error => Threshold::Error,
        raw::Threshold::Critical => Threshold::Critical,
    };
    let email = |raw: &raw::Names| match raw {
        raw::Names::One(address) => vec![address.clone()],
        raw::Names::Several(addresses) => addresses.clone(),
    };
    Said {
        channels: raw.channels.as_ref().map(|channels| channels.iter().map(channel).collect()),
        threshold: raw.threshold.map(threshold),
        email: raw.email.as_ref().map(email),
        slack: raw.slack.clone(),
        webhook: raw.webhook.clone(),
    }
}
