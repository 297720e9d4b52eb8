//! Salesforce's errors in our terms (layer 4): the one place that reads status codes and `errorCode`s.
//!
//! Salesforce's messages repeat values (`data value too large: …`), so only codes and names of fields are passed on (I12).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{ErrorKind, SyncError};

/// How long a pair waits once the requests of a day are used up: the count is of the last 24 hours, so it goes down all the time.
pub(super) const LIMIT_PAUSE: Duration = Duration::from_secs(900);
/// How long it waits where too many requests run at the same time.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// Where we are: for messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Host of the org.
    pub(super) host: String,
    /// The object, where there is one.
    pub(super) object: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "salesforce {}", self.host)?;
        self.object.as_ref().map_or(Ok(()), |object| write!(f, ", {object}"))
    }
}

impl Place {
    /// An error here.
    pub(super) fn error(&self, kind: ErrorKind, code: &'static str, text: impl fmt::Display) -> SyncError {
        SyncError::new(kind, code, format!("{self}: {text}"))
    }

    /// No answer came, or not all of it.
    pub(super) fn unreachable(&self, doing: &str, error: reqwest::Error) -> SyncError {
        let text = format!("{doing}: the connection failed");
        // The address may hold a query with values.
        self.error(ErrorKind::Unavailable, "salesforce.unavailable", text).caused_by(error.without_url())
    }

    /// An answer that is no success.
    pub(super) fn refused(&self, doing: &str, status: u16, body: &[u8]) -> SyncError {
        let reasons: Vec<Reason> = serde_json::from_slice(body).unwrap_or_default();
        let Some(reason) = reasons.into_iter().next() else { return self.unexplained(doing, status) };
        let (kind, code) = class(&reason, status);
        let pause =
            (kind == ErrorKind::RateLimited).then_some(if reason.is_of_the_day() { LIMIT_PAUSE } else { BUSY_PAUSE });
        let error = self.error(kind, code, format_args!("{doing}: {reason}"));
        match pause {
            Some(pause) => error.retry_after(pause),
            None => error,
        }
    }

    /// An answer without a word that we know: a proxy's page, or nothing.
    fn unexplained(&self, doing: &str, status: u16) -> SyncError {
        let (kind, code) = match status {
            401 => (ErrorKind::Unauthenticated, "salesforce.session"),
            403 => (ErrorKind::PermissionDenied, "salesforce.forbidden"),
            420 | 429 => (ErrorKind::RateLimited, "salesforce.limit"),
            500.. => (ErrorKind::Unavailable, "salesforce.unavailable"),
            _ => (ErrorKind::Internal, "salesforce.answer"),
        };
        self.error(kind, code, format_args!("{doing}: answered with status {status} and nothing that can be read"))
    }

    /// An answer that is not what the API says it is.
    pub(super) fn garbled(&self, doing: &str, error: serde_json::Error) -> SyncError {
        // The error's text may repeat a piece of the answer.
        let text = format!("{doing}: the answer is not of the form that is documented (line {})", error.line());
        self.error(ErrorKind::Internal, "salesforce.answer", text)
    }
}

impl Place {
    /// A compressed answer that is damaged: as good as none.
    pub(super) fn unpackable(&self, doing: &str) -> SyncError {
        self.error(
            ErrorKind::Unavailable,
            "salesforce.unavailable",
            format_args!("{doing}: the answer cannot be unpacked"),
        )
    }
}

/// One of the reasons that an answer gives: of a request (`errorCode`) or of one record of several (`statusCode`).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reason {
    #[serde(alias = "statusCode", rename = "errorCode")]
    pub(super) code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    fields: Vec<String>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if self.fields.is_empty() { Ok(()) } else { write!(f, " ({})", self.fields.join(", ")) }
    }
}

impl Reason {
    /// As a job's results tell it: `CODE:message:fields --`.
    pub(super) fn of_cell(text: &str) -> Self {
        let name = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
        };
        let (code, rest) = text.split_once(':').unwrap_or((text, ""));
        let (message, fields) = rest.rsplit_once(':').unwrap_or((rest, ""));
        let fields = fields.trim().trim_end_matches("--").split(',').map(str::trim);
        Self {
            code: if name(code) { code } else { "UNKNOWN" }.to_owned(),
            message: message.to_owned(),
            fields: fields.filter(|field| name(field)).map(str::to_owned).collect(),
        }
    }

    /// Whether the requests of a day are used up; otherwise there are too many at the same time.
    pub(super) fn is_of_the_day(&self) -> bool {
        self.message.contains("TotalRequests")
    }

    /// Whether somebody else holds the record, or what it belongs to, for a moment.
    pub(super) fn is_locked(&self) -> bool {
        self.code == "UNABLE_TO_LOCK_ROW"
    }

    /// Whether the record is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        ["ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"].contains(&self.code.as_str())
            && self.fields.is_empty()
    }

    /// Whether another record has one of the unique values.
    pub(super) fn is_taken(&self) -> bool {
        self.code == "DUPLICATE_VALUE"
    }

    /// Whether it is about what the user may do with the object or a field, and not about the record: all others would be refused, too. That a record
    /// cannot be changed or deleted may be its own matter (its owner's).
    pub(super) fn is_of_rights(&self, creates: bool) -> bool {
        match self.code.as_str() {
            "INVALID_FIELD" => true,
            "INVALID_FIELD_FOR_INSERT_UPDATE" => !self.fields.is_empty(),
            "INSUFFICIENT_ACCESS_OR_READONLY" => creates && self.fields.is_empty(),
            _ => false,
        }
    }

    /// As an error that stops the pair until somebody gives the right back.
    pub(super) fn of_rights(&self, place: &Place) -> SyncError {
        let text =
            format!("writing records: {self}: the user may not do this any more, and nothing is written before it may");
        place.error(ErrorKind::PermissionDenied, "salesforce.right_lost", text)
    }

    /// As the failure of this record alone.
    pub(super) fn of_record(&self, place: &Place) -> SyncError {
        place.error(ErrorKind::InvalidRecord, "salesforce.refused", format_args!("the record is refused: {self}"))
    }
}

fn class(reason: &Reason, status: u16) -> (ErrorKind, &'static str) {
    match reason.code.as_str() {
        "INVALID_SESSION_ID" => (ErrorKind::Unauthenticated, "salesforce.session"),
        "REQUEST_LIMIT_EXCEEDED" => (ErrorKind::RateLimited, "salesforce.limit"),
        "INVALID_QUERY_LOCATOR" => (ErrorKind::Unavailable, "salesforce.locator"),
        "UNABLE_TO_LOCK_ROW" => (ErrorKind::Unavailable, "salesforce.locked"),
        "SERVER_UNAVAILABLE" | "QUERY_TIMEOUT" | "UNKNOWN_EXCEPTION" => {
            (ErrorKind::Unavailable, "salesforce.unavailable")
        }
        "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED" | "INSUFFICIENT_ACCESS" => {
            (ErrorKind::PermissionDenied, "salesforce.forbidden")
        }
        "INVALID_FIELD" => (ErrorKind::SchemaMismatch, "salesforce.field_lost"),
        "INVALID_TYPE" | "MALFORMED_QUERY" | "UNSUPPORTED_API_VERSION" | "NOT_FOUND" => {
            (ErrorKind::SchemaMismatch, "salesforce.request")
        }
        _ if status >= 500 => (ErrorKind::Unavailable, "salesforce.unavailable"),
        _ if status == 403 => (ErrorKind::PermissionDenied, "salesforce.forbidden"),
        _ => (ErrorKind::Internal, "salesforce.answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Disposition;

    fn place() -> Place {
        Place { host: "acme.my.salesforce.com".to_owned(), object: Some("Account".to_owned()) }
    }

    fn refused(status: u16, code: &str, message: &str) -> SyncError {
        let body = serde_json::json!([{"errorCode": code, "message": message, "fields": ["Name"]}]);
        place().refused("querying", status, body.to_string().as_bytes())
    }

    #[test]
    fn each_refusal_has_its_disposition() {
        for (status, code, message, expected) in [
            (401, "INVALID_SESSION_ID", "Session expired or invalid", Disposition::Pause),
            (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", Disposition::Retry),
            (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", Disposition::Retry),
            (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access", Disposition::Retry),
            (403, "INSUFFICIENT_ACCESS_OR_READONLY", "no", Disposition::Pause),
            (400, "MALFORMED_QUERY", "unexpected token", Disposition::Pause),
            (500, "APEX_ERROR", "System.Exception", Disposition::Retry),
        ] {
            assert_eq!(refused(status, code, message).disposition(), expected, "{code}");
        }
        let day = refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.");
        assert_eq!(day.retry_after, Some(LIMIT_PAUSE));
        let busy = refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.");
        assert_eq!(busy.retry_after, Some(BUSY_PAUSE));
    }

    #[test]
    fn no_message_of_theirs_is_repeated() {
        let error = refused(400, "STRING_TOO_LONG", "data value too large: Secret Corp");
        let text = error.to_string();
        assert!(text.contains("STRING_TOO_LONG (Name)") && !text.contains("Secret Corp"), "{text}");
    }

    #[test]
    fn a_cell_of_results_has_code_and_fields() {
        for (text, expected) in [
            ("REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --", "REQUIRED_FIELD_MISSING (Name)"),
            (
                "DUPLICATE_VALUE:duplicate value found: X__c duplicates value on record with id: 001:: --",
                "DUPLICATE_VALUE",
            ),
            ("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:A,B__c --", "UNABLE_TO_LOCK_ROW (A, B__c)"),
            ("ENTITY_IS_DELETED", "ENTITY_IS_DELETED"),
            ("some text of theirs: Secret Corp", "UNKNOWN"),
            ("", "UNKNOWN"),
        ] {
            assert_eq!(Reason::of_cell(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_page_of_a_proxy_is_an_outage() {
        assert_eq!(place().refused("querying", 503, b"<html>").disposition(), Disposition::Retry);
        assert_eq!(place().refused("querying", 403, b"").disposition(), Disposition::Pause);
    }
}
