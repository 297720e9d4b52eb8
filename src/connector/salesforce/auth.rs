//! OAuth 2 (layer 4): a grant → an access token, and the address that it is for.

use std::io::Write as _;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::options::{Grant, Login, address};
use super::soql::encoded;
use crate::config::Secret;
use crate::error::{ErrorKind, Result, SyncError};
use crate::telemetry::clock::now_micros;

/// How long an assertion holds.
const ASSERTION_SECONDS: i64 = 180;

/// What the token endpoint gave.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) access: Secret,
    /// Where requests go from now on.
    pub(super) address: String,
    /// The org's own id.
    pub(super) organization: String,
    /// The user that requests are made as.
    pub(super) user: String,
    /// Where the grant's refresh token was replaced by a new one.
    pub(super) refresh: Option<Secret>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    instance_url: String,
    #[serde(default)]
    id: String,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

/// Asks for a token.
///
/// # Errors
/// `Unauthenticated` with the endpoint's word for it; `Unavailable` where it does not answer.
pub(super) async fn token(client: &reqwest::Client, login: &Login, newest: Option<&Secret>) -> Result<Token> {
    let url = format!("{}/services/oauth2/token", login.address);
    let request =
        client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form(login, newest)?);
    let unreachable = |error| login.place.unreachable("logging in", error);
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.map_err(unreachable)?;
    if status != 200 {
        return Err(denied(login, status, &body));
    }
    let granted: Granted = serde_json::from_slice(&body).map_err(|error| login.place.garbled("logging in", error))?;
    let Some((address, _)) = address(&granted.instance_url) else {
        let text = "logging in: the org sends its clients to an address that is not https";
        return Err(login.place.error(ErrorKind::Unauthenticated, "salesforce.login", text));
    };
    let mut parts = granted.id.rsplit('/');
    let (user, organization) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    Ok(Token {
        access: Secret::new(granted.access_token),
        address,
        organization: organization.to_owned(),
        user: user.to_owned(),
        refresh: granted.refresh_token.map(Secret::new),
    })
}

fn denied(login: &Login, status: u16, body: &[u8]) -> SyncError {
    match serde_json::from_slice::<Denied>(body) {
        Ok(denied) if status < 500 => {
            let limited = denied.error.contains("rate") || status == 429;
            let (kind, code) = if limited {
                (ErrorKind::RateLimited, "salesforce.limit")
            } else {
                (ErrorKind::Unauthenticated, "salesforce.login")
            };
            // The description may name the user.
            login.place.error(kind, code, format_args!("logging in: {}", denied.error))
        }
        Ok(_) | Err(_) if status >= 500 => login.place.refused("logging in", status, body),
        Ok(_) | Err(_) => {
            let text = format!("logging in: answered with status {status}");
            login.place.error(ErrorKind::Unauthenticated, "salesforce.login", text)
        }
    }
}

fn form(login: &Login, newest: Option<&Secret>) -> Result<String> {
    let client = ("client_id", login.client_id.as_str());
    let fields = match &login.grant {
        Grant::ClientCredentials { secret } => {
            vec![("grant_type", "client_credentials"), client, ("client_secret", secret.expose())]
        }
        Grant::JwtBearer { user, key_file } => {
            let assertion = assertion(login, user, key_file)?;
            let fields = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
            return Ok(joined(&fields));
        }
        Grant::RefreshToken { secret, token, file } => {
            let token = refresh_token(login, newest.or(token.as_ref()), newest.is_none(), file.as_deref())?;
            let mut fields = vec![("grant_type", "refresh_token"), client, ("refresh_token", token.expose())];
            fields.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose())));
            return Ok(joined(&fields));
        }
        Grant::Password { secret, user, password } => vec![
            ("grant_type", "password"),
            client,
            ("client_secret", secret.expose()),
            ("username", user),
            ("password", password.expose()),
        ],
    };
    Ok(joined(&fields))
}

/// The newest refresh token: the one of this run, that of the file, or the one that the configuration begins with.
fn refresh_token(login: &Login, known: Option<&Secret>, begins: bool, file: Option<&Path>) -> Result<Secret> {
    let kept = match file.filter(|_| begins).map(std::fs::read_to_string) {
        Some(Ok(text)) => Some(text.trim().to_owned()).filter(|token| !token.is_empty()),
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            let text = format!("the file of the refresh token cannot be read: {error}");
            return Err(login.place.error(ErrorKind::Unauthenticated, "salesforce.login", text));
        }
        Some(Err(_)) | None => None,
    };
    kept.map(Secret::new).or(known.cloned()).ok_or_else(|| {
        let text = "\"refresh_token_file\" is not there yet, and there is no \"refresh_token\" to begin with";
        login.place.error(ErrorKind::Unauthenticated, "salesforce.login", text)
    })
}

/// Keeps a refresh token that has replaced the one before, for the next start: in a file that nobody else may read, whole or not at all.
///
/// # Errors
/// Where the file cannot be written.
pub(super) fn keep(login: &Login, token: &Secret) -> std::io::Result<bool> {
    let Grant::RefreshToken { file: Some(file), .. } = &login.grant else { return Ok(false) };
    let beside = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut new = options.open(&beside)?;
    new.write_all(token.expose().as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&beside, file)?;
    Ok(true)
}

fn joined(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

/// A statement about the user, signed by the app's key (RFC 7523).
fn assertion(login: &Login, user: &str, key_file: &std::path::Path) -> Result<String> {
    let refused = |text: String| login.place.error(ErrorKind::Unauthenticated, "salesforce.login", text);
    let shown = key_file.display();
    let pem =
        std::fs::read(key_file).map_err(|error| refused(format!("the private key {shown} cannot be read: {error}")))?;
    let unfit = || refused(format!("{shown} is no RSA private key in PEM form (PKCS#8 or PKCS#1, at least 2048 bits)"));
    let key = match PrivateKeyDer::from_pem_slice(&pem).map_err(|_| unfit())? {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(_) | _ => return Err(unfit()),
    };
    let key = key.map_err(|_| unfit())?;
    let claims = serde_json::json!({
        "iss": login.client_id, "sub": user, "aud": audience(&login.address),
        "exp": now_micros() / 1_000_000 + ASSERTION_SECONDS,
    });
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let signed = format!("{}.{}", part(r#"{"alg":"RS256"}"#.to_owned()), part(claims.to_string()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| unfit())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Whom an assertion is for: the login host of production orgs, or that of their sandboxes.
fn audience(address: &str) -> &'static str {
    let is_sandbox = address.contains(".sandbox.my.") || address.starts_with("https://test.");
    if is_sandbox { "https://test.salesforce.com" } else { "https://login.salesforce.com" }
}
