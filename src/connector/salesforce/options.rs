//! How an org is reached (layer 4): endpoint → address and grant.

use std::fmt::Write as _;
use std::path::PathBuf;

use reqwest::Url;
use sha2::{Digest, Sha256};

use super::errors::Place;
use crate::config::{Endpoint, Secret};
use crate::error::{ErrorKind, Result};

/// The oldest version of the API that has all that is used here.
const VERSION_MIN: u32 = 58;
const VERSION_DEFAULT: &str = "60.0";
/// The Pub/Sub API of all orgs.
const PUBSUB_DEFAULT: &str = "api.pubsub.salesforce.com:7443";

/// How a token is asked for.
#[derive(Debug, Clone)]
pub(super) enum Grant {
    /// By the connected app itself, as the user that it runs as.
    ClientCredentials { secret: Secret },
    /// By an assertion that the app's private key signs.
    JwtBearer { user: String, key_file: PathBuf },
    /// By a token that a person has allowed once.
    RefreshToken { secret: Option<Secret>, token: Option<Secret>, file: Option<PathBuf> },
    /// By name and password, which orgs block by default.
    Password { secret: Secret, user: String, password: Secret },
}

/// An org and how to log in.
#[derive(Debug, Clone)]
pub(super) struct Login {
    /// Scheme, host and port.
    pub(super) address: String,
    /// The connected app's consumer key.
    pub(super) client_id: String,
    pub(super) grant: Grant,
    /// `60.0`.
    pub(super) version: String,
    /// Scheme, host and port of the Pub/Sub API.
    pub(super) pubsub_endpoint: String,
    /// For messages.
    pub(super) place: Place,
}

impl Login {
    /// Reads the endpoint's credentials.
    ///
    /// # Errors
    /// `SchemaMismatch` that names the key that is missing or wrong.
    pub(super) fn of(endpoint: &Endpoint) -> Result<Self> {
        let given = |key: &str| endpoint.credentials.other.get(key).map(Secret::expose);
        let unknown = Place { host: "(no address)".to_owned(), object: None };
        let missing =
            |place: &Place, text: &str| Err(place.error(ErrorKind::SchemaMismatch, "salesforce.options", text));
        let Some(url) = given("instance_url").or(endpoint.credentials.url.as_ref().map(Secret::expose)) else {
            let text = "credentials need \"instance_url\": \"https://YOURS.my.salesforce.com\"";
            return missing(&unknown, text);
        };
        let Some((address, host)) = address(url) else {
            let text = "\"instance_url\" is not https://HOST (http is for this machine only, as for `tidelock sandbox salesforce`)";
            return missing(&unknown, text);
        };
        let place = Place { host, object: Some(endpoint.collection.clone()) };
        let Some(client_id) = given("client_id") else {
            return missing(&place, "credentials need \"client_id\", the consumer key of a connected app");
        };
        let version = given("api_version").unwrap_or(VERSION_DEFAULT).trim_start_matches('v');
        let (number, rest) = version.split_once('.').unwrap_or((version, "0"));
        if rest != "0" || number.parse().ok().is_none_or(|number: u32| number < VERSION_MIN) {
            let text = format!("\"api_version\" has to be {VERSION_MIN}.0 or later, such as \"{VERSION_DEFAULT}\"");
            return missing(&place, &text);
        }
        let grant = match grant(endpoint) {
            Ok(grant) => grant,
            Err(text) => return missing(&place, &text),
        };
        let endpoint = given("pubsub_endpoint").unwrap_or(PUBSUB_DEFAULT);
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") };
        let Some((pubsub_endpoint, _)) = self::address(&url) else {
            let text = format!(
                "\"pubsub_endpoint\" is not HOST:PORT such as \"{PUBSUB_DEFAULT}\" (http:// is for this machine only, as for `tidelock sandbox \
                 salesforce`)"
            );
            return missing(&place, &text);
        };
        let version = format!("{number}.0");
        Ok(Self { address, client_id: client_id.to_owned(), grant, version, pubsub_endpoint, place })
    }

    /// A name of the org, the login and the version, to share what is known of it; secrets are in it as a digest only.
    pub(super) fn fingerprint(&self) -> String {
        let (kind, parts): (_, Vec<&str>) = match &self.grant {
            Grant::ClientCredentials { secret } => ("client_credentials", vec![secret.expose()]),
            Grant::JwtBearer { user, key_file } => ("jwt_bearer", vec![user, key_file.to_str().unwrap_or_default()]),
            Grant::RefreshToken { secret, token, file } => {
                let file = file.as_ref().and_then(|file| file.to_str()).unwrap_or_default();
                let [secret, token] = [secret, token].map(|secret| secret.as_ref().map_or("", Secret::expose));
                ("refresh_token", vec![secret, token, file])
            }
            Grant::Password { secret, user, password } => ("password", vec![secret.expose(), user, password.expose()]),
        };
        let mut digest = Sha256::new();
        for part in
            [&[&*self.address, &self.pubsub_endpoint, &self.client_id, &self.version, kind], parts.as_slice()].concat()
        {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        digest.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _written = write!(text, "{byte:02x}");
            text
        })
    }
}

fn grant(endpoint: &Endpoint) -> Result<Grant, String> {
    let credentials = &endpoint.credentials;
    let given = |key: &str| credentials.other.get(key).cloned();
    let (secret, token, key_file) = (given("client_secret"), given("refresh_token"), given("private_key_file"));
    let token_file = given("refresh_token_file").map(|file| PathBuf::from(file.expose()));
    let named = given("grant");
    let refreshes = token.as_ref().map(|_| ()).or(token_file.as_ref().map(|_| ()));
    let name =
        named.as_ref().map(Secret::expose).unwrap_or_else(|| match (refreshes, &key_file, &credentials.password) {
            (Some(_), _, _) => "refresh_token",
            (None, Some(_), _) => "jwt_bearer",
            (None, None, Some(_)) => "password",
            (None, None, None) => "client_credentials",
        });
    let need = |key: &str| format!("credentials need \"{key}\" for the grant \"{name}\"");
    let user = || credentials.user.clone().ok_or_else(|| need("username"));
    match name {
        "client_credentials" => Ok(Grant::ClientCredentials { secret: secret.ok_or_else(|| need("client_secret"))? }),
        "jwt_bearer" => {
            let key_file = key_file.ok_or_else(|| need("private_key_file"))?;
            Ok(Grant::JwtBearer { user: user()?, key_file: PathBuf::from(key_file.expose()) })
        }
        "refresh_token" if token.is_none() && token_file.is_none() => Err(need("refresh_token")),
        "refresh_token" => Ok(Grant::RefreshToken { secret, token, file: token_file }),
        "password" => Ok(Grant::Password {
            secret: secret.ok_or_else(|| need("client_secret"))?,
            user: user()?,
            password: credentials.password.clone().ok_or_else(|| need("password"))?,
        }),
        other => {
            Err(format!("there is no grant \"{other}\": client_credentials, jwt_bearer, refresh_token or password"))
        }
    }
}

/// Scheme, host and port of an address that may be used, and the host for messages.
pub(super) fn address(url: &str) -> Option<(String, String)> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let is_here = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
    if !(url.scheme() == "https" || (url.scheme() == "http" && is_here)) || !url.username().is_empty() {
        return None;
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some((format!("{}://{host}{port}", url.scheme()), format!("{host}{port}")))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Credentials, Location};

    /// An endpoint with these credentials.
    pub(in crate::connector::salesforce) fn endpoint(settings: &[(&str, &str)]) -> Endpoint {
        let other = settings.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect();
        Endpoint {
            at: Location::default(),
            system_type: "salesforce".to_owned(),
            name: "crm".into(),
            collection: "Account".to_owned(),
            filter: None,
            updated_at: None,
            key: Vec::new(),
            external_id: None,
            bulk_threshold: None,
            timeout: None,
            credentials: Credentials { other, ..Credentials::default() },
        }
    }

    fn login(settings: &[(&str, &str)]) -> Result<Login> {
        let base = [("instance_url", "https://acme.my.salesforce.com/"), ("client_id", "key")];
        let kept = base.into_iter().filter(|(key, _)| !settings.iter().any(|(other, _)| other == key));
        Login::of(&endpoint(&kept.chain(settings.iter().copied()).collect::<Vec<_>>()))
    }

    #[test]
    fn the_grant_follows_from_what_is_given() {
        let grant = |settings: &[(&str, &str)]| login(settings).unwrap().grant;
        assert!(matches!(grant(&[("client_secret", "s")]), Grant::ClientCredentials { .. }));
        assert!(matches!(grant(&[("refresh_token", "t")]), Grant::RefreshToken { secret: None, .. }));
        let missing = login(&[("grant", "jwt_bearer")]).unwrap_err();
        assert!(missing.message.contains("private_key_file"), "{missing}");
        assert!(login(&[("grant", "magic")]).unwrap_err().message.contains("magic"));
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (url, allowed) in [
            ("https://acme.my.salesforce.com", true),
            ("http://127.0.0.1:8081", true),
            ("http://acme.my.salesforce.com", false),
            ("http://127.0.0.1.example.com", false),
            ("https://user@acme.my.salesforce.com", false),
            ("ftp://acme", false),
            ("", false),
        ] {
            assert_eq!(address(url).is_some(), allowed, "{url}");
        }
        assert_eq!(address("http://localhost:1/x?y").unwrap().0, "http://localhost:1");
    }

    #[test]
    fn the_pubsub_api_is_reached_over_tls_but_on_this_machine() {
        let endpoint = |given: &[(&str, &str)]| {
            login(&[&[("client_secret", "s")], given].concat()).map(|login| login.pubsub_endpoint)
        };
        assert_eq!(endpoint(&[]).unwrap(), "https://api.pubsub.salesforce.com:7443");
        assert_eq!(
            endpoint(&[("pubsub_endpoint", "api.deu.pubsub.salesforce.com:443")]).unwrap(),
            "https://api.deu.pubsub.salesforce.com"
        );
        assert_eq!(endpoint(&[("pubsub_endpoint", "http://127.0.0.1:7443")]).unwrap(), "http://127.0.0.1:7443");
        for wrong in ["http://api.pubsub.salesforce.com:7443", "a b", ""] {
            let error = endpoint(&[("pubsub_endpoint", wrong)]).unwrap_err();
            assert!(error.message.contains("pubsub_endpoint"), "{wrong}: {error}");
        }
    }

    #[test]
    fn versions_that_are_too_old_are_refused() {
        assert_eq!(login(&[("client_secret", "s"), ("api_version", "v61.0")]).unwrap().version, "61.0");
        for version in ["57.0", "latest", "60.5"] {
            assert!(login(&[("client_secret", "s"), ("api_version", version)]).is_err(), "{version}");
        }
    }

    #[test]
    fn orgs_are_told_apart_without_showing_secrets() {
        let one = login(&[("client_secret", "hunter2")]).unwrap();
        assert_eq!(one.fingerprint(), login(&[("client_secret", "hunter2")]).unwrap().fingerprint());
        assert_ne!(one.fingerprint(), login(&[("client_secret", "hunter3")]).unwrap().fingerprint());
        assert!(!format!("{one:?}").contains("hunter2"));
    }
}
