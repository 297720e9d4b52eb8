//! `credentials`, and `path` and `url` beside them (layer 2).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Context;
use crate::config::raw::{self, Place};
use crate::config::{Credentials, Problem, Secret, codes};

/// Everything that says how a system is reached.
pub(super) struct Reach<'a> {
    pub(super) at: Place,
    pub(super) system_type: &'a str,
    pub(super) path: Option<&'a str>,
    pub(super) url: Option<&'a str>,
    pub(super) credentials: Option<&'a raw::Credentials>,
}

pub(super) fn credentials(context: &mut Context<'_>, reach: &Reach<'_>) -> Credentials {
    let none = raw::Credentials::default();
    let raw = reach.credentials.unwrap_or(&none);
    warn_literals(context, reach, raw);
    let url = either(context, reach, "url", reach.url, raw.url.as_deref());
    let path = either(context, reach, "path", reach.path, raw.path.as_deref());
    let user = match (&raw.user, &raw.username) {
        (Some(user), Some(username)) if user != username => {
            let at = context.at_key(raw.at.unwrap_or(reach.at), "username");
            context.contradiction(&at, "user", "username");
            Some(user)
        }
        (user, username) => user.as_ref().or(username.as_ref()),
    };
    // A file's URL is its path.
    let file = url.and_then(|url| url.strip_prefix("sqlite://")).filter(|_| reach.system_type == "sqlite");
    let resolved = Credentials {
        url: if file.is_some() { None } else { url.map(Secret::new) },
        path: path.or(file).map(|path| context.documents.path(reach.at, path)),
        host: raw.host.clone(),
        port: raw.port,
        database: raw.database.clone(),
        schema: raw.schema.clone(),
        user: user.cloned(),
        password: raw.password.as_deref().map(Secret::new),
        other: other(context, reach, raw),
    };
    require(context, reach, &resolved);
    warn_no_org(context, reach, &resolved);
    resolved
}

/// A setting that may stand beside `credentials` or in it.
fn either<'a>(
    context: &mut Context<'_>,
    reach: &Reach<'_>,
    key: &str,
    beside: Option<&'a str>,
    within: Option<&'a str>,
) -> Option<&'a str> {
    if let (Some(beside), Some(within)) = (beside, within)
        && beside != within
    {
        let at = context.at_key(reach.at, key);
        context.contradiction(&at, key, &format!("credentials.{key}"));
    }
    beside.or(within)
}

/// What only some systems ask for, by its key.
fn other(context: &Context<'_>, reach: &Reach<'_>, raw: &raw::Credentials) -> BTreeMap<String, Secret> {
    let in_folder = |file: &String| context.documents.path(reach.at, file).to_string_lossy().into_owned();
    let private_key_file = raw.private_key_file.as_ref().map(in_folder);
    let refresh_token_file = raw.refresh_token_file.as_ref().map(in_folder);
    let server_id = raw.server_id.map(|id| id.to_string());
    let all = [
        ("socket", &raw.socket),
        ("ssl_mode", &raw.ssl_mode),
        ("ssl_ca", &raw.ssl_ca),
        ("server_id", &server_id),
        ("auth_type", &raw.auth_type),
        ("grant", &raw.grant),
        ("instance_url", &raw.instance_url),
        ("pubsub_endpoint", &raw.pubsub_endpoint),
        ("client_id", &raw.client_id),
        ("client_secret", &raw.client_secret),
        ("refresh_token", &raw.refresh_token),
        ("refresh_token_file", &refresh_token_file),
        ("access_token", &raw.access_token),
        ("api_token", &raw.api_token),
        ("private_key_file", &private_key_file),
        ("api_version", &raw.api_version),
        ("account", &raw.account),
        ("subdomain", &raw.subdomain),
        ("warehouse", &raw.warehouse),
        ("role", &raw.role),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Secret::new(value.as_deref()?)))).collect()
}

fn warn_literals(context: &mut Context<'_>, reach: &Reach<'_>, raw: &raw::Credentials) {
    let within = raw.at.unwrap_or(reach.at);
    let secrets = [
        ("password", &raw.password),
        ("client_secret", &raw.client_secret),
        ("refresh_token", &raw.refresh_token),
        ("access_token", &raw.access_token),
        ("api_token", &raw.api_token),
    ];
    for (key, value) in secrets {
        if value.is_some() {
            warn_literal(context, within, key);
        }
    }
    for (place, url) in [(reach.at, reach.url), (within, raw.url.as_deref())] {
        if url.is_some_and(has_password) {
            warn_literal(context, place, "url");
        }
    }
}

/// Warns of a secret that everybody who may read the file can see.
pub(super) fn warn_literal(context: &mut Context<'_>, place: Place, key: &str) {
    if !context.is_literal(place, key) {
        return;
    }
    let at = context.at_key(place, key);
    let what = if key == "url" { "contains" } else { "is" };
    let message = format!("\"{key}\" {what} a secret and stands in the file in clear");
    let suggestion = format!("take it from the environment: \"${{{}}}\"", key.to_uppercase());
    context.report(Problem::warning(codes::LITERAL_SECRET, &at, message).suggest(suggestion));
}

/// Whether a URL carries a password: `scheme://user:password@host`, or as a parameter.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let before_path = authority.split(['/', '?']).next().unwrap_or_default();
    before_path.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || url.contains("password=")
}

/// What has to be there. The rest is the connector's business.
fn require(context: &mut Context<'_>, reach: &Reach<'_>, resolved: &Credentials) {
    let broken = |key: &str| {
        context.is_broken(reach.at, "credentials")
            || context.is_broken(reach.at, key)
            || reach.credentials.and_then(|raw| raw.at).is_some_and(|place| context.is_broken(place, key))
    };
    let has_url = resolved.url.is_some();
    if reach.system_type == "sqlite" && resolved.path.as_ref().is_none_or(|path| path == &PathBuf::new()) {
        if has_url && !broken("url") {
            let at = context.at_key(reach.at, "url");
            let message = "the URL of an SQLite database begins with sqlite://";
            context.report(Problem::error(codes::INVALID_VALUE, &at, message).suggest("use \"path\": \"FILE.db\""));
        } else if !broken("path") && !broken("url") {
            let message = "it is not said where the SQLite database is";
            context.missing(reach.at, "path", message, "add \"path\": \"FILE.db\"");
        }
    } else if let Some((server, variable)) = server_name(reach.system_type) {
        let is_said = has_url || resolved.host.is_some() || resolved.other.contains_key("socket");
        if !is_said && !broken("url") && !broken("host") {
            let message = format!("it is not said where the {server} server is");
            let suggestion =
                format!("add \"credentials\" with \"host\" and \"database\", or with \"url\": \"${{{variable}}}\"");
            context.missing(reach.at, "credentials", &message, &suggestion);
        } else if has_url && resolved.host.is_some() {
            let at = context.at_key(reach.credentials.and_then(|raw| raw.at).unwrap_or(reach.at), "host");
            let message = "the server is given twice: by \"url\" and by \"host\"";
            context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest("keep one of them"));
        }
    }
}

/// The article's snippets leave the login out: they are accepted, and cannot run.
fn warn_no_org(context: &mut Context<'_>, reach: &Reach<'_>, resolved: &Credentials) {
    let is_said = resolved.url.is_some() || resolved.other.contains_key("instance_url");
    if reach.system_type != "salesforce" || is_said {
        return;
    }
    let at = context.at_key(reach.at, "credentials");
    let message = "it is not said where the Salesforce org is: the sync cannot run like this";
    let suggestion = "add \"credentials\" with \"instance_url\": \"https://YOURS.my.salesforce.com\", \"client_id\" and \"client_secret\"";
    context.report(Problem::warning(codes::MISSING_KEY, &at, message).suggest(suggestion));
}

/// What a database server is called, and the variable that its URL is usually in.
fn server_name(system_type: &str) -> Option<(&'static str, &'static str)> {
    match system_type {
        "postgres" => Some(("Postgres", "DATABASE_URL")),
        "mysql" => Some(("MySQL", "MYSQL_URL")),
        _ => None,
    }
}
