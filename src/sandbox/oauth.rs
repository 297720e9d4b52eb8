//! Sessions, and the token endpoint's four flows. The one connected app and the one user are the same in every sandbox: there is nothing here to protect.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::exchange::{Answer, Refusal, Request, find};
use crate::telemetry::clock::now_micros;

/// The connected app's consumer key.
pub const CLIENT_ID: &str = "tidelock-sandbox";
/// Its secret.
pub const CLIENT_SECRET: &str = "sandbox-secret";
/// A refresh token that does not end.
pub const REFRESH_TOKEN: &str = "sandbox-refresh-token";
/// The integration's user.
pub const USERNAME: &str = "integration@sandbox.example";
/// Password and security token in one, as the flow wants them.
pub const PASSWORD: &str = "sandbox-password";

/// How long a session lasts that nobody uses.
const IDLE_MS: i64 = 2 * 60 * 60 * 1000;

/// Who holds which token.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By token: when it ends.
    open: BTreeMap<String, i64>,
    issued: u64,
    /// Whether a refresh token is replaced when it is used.
    pub(super) rotates: bool,
    /// The refresh token that has replaced the first one.
    replaced: Option<String>,
}

/// The names that tokens are issued for.
pub(super) struct Issuer<'a> {
    pub(super) address: &'a str,
    pub(super) organization: &'a str,
    pub(super) user: &'a str,
    pub(super) now_ms: i64,
}

impl Sessions {
    /// The token of a request that may go on, used now.
    pub(super) fn check(&mut self, request: &Request, now_ms: i64) -> Result<(), Refusal> {
        let header = request.header("authorization").unwrap_or_default();
        let token = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("OAuth ")).unwrap_or_default();
        if self.holds(token, now_ms) { Ok(()) } else { Err(expired()) }
    }

    /// Whether a session goes by this token, which is used now.
    pub(super) fn holds(&mut self, token: &str, now_ms: i64) -> bool {
        match self.open.get_mut(token) {
            Some(ends) if *ends > now_ms => {
                *ends = now_ms + IDLE_MS;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Ends all sessions.
    pub(super) fn expire(&mut self) {
        self.open.clear();
    }

    /// Answers the token endpoint.
    pub(super) fn token(&mut self, request: &Request, issuer: &Issuer<'_>) -> Answer {
        match grant(request, issuer, self.replaced.as_deref().unwrap_or(REFRESH_TOKEN)) {
            Ok(()) => {
                let mut issued = self.issue(issuer);
                let refreshed = find(&request.form(), "grant_type") == Some("refresh_token");
                if let (true, Some(issued)) = (self.rotates && refreshed, issued.as_object_mut()) {
                    let newer = format!("{REFRESH_TOKEN}-{}", self.issued);
                    issued.insert("refresh_token".to_owned(), json!(newer));
                    self.replaced = Some(newer);
                }
                Answer::ok(&issued).with("cache-control", "no-store".to_owned())
            }
            Err((error, description)) => {
                Answer::json(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": description}))
            }
        }
    }

    fn issue(&mut self, issuer: &Issuer<'_>) -> Value {
        self.issued += 1;
        let digest = |what: &str| STANDARD.encode(Sha256::digest(format!("{what} {} {}", self.issued, issuer.now_ms)));
        let short = issuer.organization.get(..15).unwrap_or(issuer.organization);
        let token = format!("{short}!{}", digest("token").replace(['+', '/', '='], "."));
        let signature = digest("signature");
        self.open.insert(token.clone(), issuer.now_ms + IDLE_MS);
        json!({
            "access_token": token, "instance_url": issuer.address, "token_type": "Bearer", "scope": "api refresh_token",
            "id": format!("{}/id/{}/{}", issuer.address, issuer.organization, issuer.user),
            "issued_at": issuer.now_ms.to_string(), "signature": signature,
        })
    }
}

/// 401, as every API answers it.
pub(super) fn expired() -> Refusal {
    Refusal::new("INVALID_SESSION_ID", "Session expired or invalid")
}

type Denied = (&'static str, &'static str);

fn grant(request: &Request, issuer: &Issuer<'_>, refresh_token: &str) -> Result<(), Denied> {
    let form = request.form();
    let (client, secret) = basic(request).unwrap_or_else(|| {
        let field = |name| find(&form, name).unwrap_or_default().to_owned();
        (field("client_id"), field("client_secret"))
    });
    let known = || if client == CLIENT_ID { Ok(()) } else { Err(("invalid_client_id", "client identifier invalid")) };
    let trusted =
        || if secret == CLIENT_SECRET { Ok(()) } else { Err(("invalid_client", "invalid client credentials")) };
    match find(&form, "grant_type") {
        Some("client_credentials") => known().and_then(|()| trusted()),
        Some("refresh_token") => {
            known()?;
            // An app may be without a secret; a wrong one is wrong all the same.
            if !secret.is_empty() {
                trusted()?;
            }
            let right = find(&form, "refresh_token") == Some(refresh_token);
            if right { Ok(()) } else { Err(("invalid_grant", "expired access/refresh token")) }
        }
        Some("password") => {
            known().and_then(|()| trusted())?;
            let right = find(&form, "username") == Some(USERNAME) && find(&form, "password") == Some(PASSWORD);
            if right { Ok(()) } else { Err(("invalid_grant", "authentication failure")) }
        }
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => {
            bearer(find(&form, "assertion").unwrap_or_default(), issuer)
        }
        Some(_) => Err(("unsupported_grant_type", "grant type not supported")),
        None => Err(("invalid_request", "grant_type is missing")),
    }
}

fn basic(request: &Request) -> Option<(String, String)> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (client, secret) = text.split_once(':')?;
    Some((client.to_owned(), secret.to_owned()))
}

/// Looks at everything but the signature: the sandbox has no certificate of the app.
fn bearer(assertion: &str, issuer: &Issuer<'_>) -> Result<(), Denied> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err(("invalid_grant", "invalid assertion")) };
    let read = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(header), Some(claims)) = (read(header), read(claims)) else {
        return Err(("invalid_grant", "invalid assertion"));
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if header.get("alg").and_then(Value::as_str) != Some("RS256") || signature.is_empty() {
        return Err(("invalid_grant", "invalid assertion"));
    }
    if text("iss") != CLIENT_ID {
        return Err(("invalid_client_id", "client identifier invalid"));
    }
    if text("sub") != USERNAME {
        return Err(("invalid_grant", "user hasn't approved this consumer"));
    }
    let audiences = ["https://login.salesforce.com", "https://test.salesforce.com", issuer.address];
    if !audiences.contains(&text("aud").trim_end_matches('/')) {
        return Err(("invalid_grant", "audience is invalid"));
    }
    // One client sends the number as text. The assertion is dated by its maker's clock, not by the sandbox's.
    let expires = claims.get("exp").and_then(|exp| exp.as_i64().or_else(|| exp.as_str()?.parse().ok()));
    if expires.is_none_or(|expires| expires < now_micros() / 1_000_000) {
        return Err(("invalid_grant", "expired authorization code"));
    }
    Ok(())
}
