//! `error_handling.notifications` (layer 2).

/// Who is told, and of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Ways to tell.
    pub channels: Vec<Channel>,
    /// What is worth telling.
    pub threshold: Threshold,
    /// E-mail addresses.
    pub email: Vec<String>,
    /// Slack channel.
    pub slack: Option<String>,
    /// Address that gets a JSON message.
    pub webhook: Option<crate::config::Secret>,
}

/// A way to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Slack.
    Slack,
    /// E-mail.
    Email,
    /// A JSON message to an address.
    Webhook,
}

/// What is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Threshold {
    /// Everything.
    Info,
    /// What may need a look.
    Warning,
    /// What failed.
    #[default]
    Error,
    /// What stopped a pair.
    Critical,
}
