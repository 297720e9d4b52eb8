//! What holds for the whole service (layer 2): `state`, `plugins`, `server`, the log level. Files may not disagree.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Context, credentials, monitoring};
use crate::config::document::Step;
use crate::config::raw::{self, File, LogLevel, Place};
use crate::config::{
    Config, Location, PairConfig, PluginLimits, PluginRollback, PluginSettings, Problem, Secret, ServerSettings, codes,
    suggestion,
};

const DEFAULT_STATE: &str = "tidelock.db";
const DEFAULT_PLUGINS: &str = "plugins";
const DEFAULT_LISTEN: &str = "127.0.0.1:7070";
/// What says nothing of the world as it is given: clocks stand still, chance repeats itself, the rest is empty.
const GRANTABLE: &[&str] = &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random"];
const MEMORY: &str = ":memory:";

/// A setting that all files share, and who said it first.
#[derive(Debug)]
struct Setting<T>(Option<(T, Location)>);

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Setting<T> {
    /// Takes a value; another one than before is an error.
    fn say(&mut self, context: &mut Context<'_>, name: &str, value: T, at: Location) {
        match &self.0 {
            None => self.0 = Some((value, at)),
            Some((before, first)) if *before != value => {
                let message = format!("\"{name}\" differs from what {first} says");
                let problem = Problem::error(codes::SETTING_DIFFERS, &at, message);
                context.report(problem.suggest("say it in one file only"));
            }
            Some(_) => {}
        }
    }

    fn value(self) -> Option<T> {
        self.0.map(|(value, _)| value)
    }
}

/// The service's settings as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Service {
    state: Setting<String>,
    plugin_dir: Setting<PathBuf>,
    plugin_limits: Setting<PluginLimits>,
    plugin_grants: Setting<BTreeMap<String, Vec<String>>>,
    plugin_rollback: Setting<Option<PluginRollback>>,
    listen: Setting<String>,
    token: Setting<Secret>,
    log_level: Setting<LogLevel>,
}

impl Service {
    /// Reads the settings of one file.
    pub(super) fn read(&mut self, context: &mut Context<'_>, file: &File) {
        if let Some(state) = &file.state {
            self.read_state(context, state);
        }
        if let Some(plugins) = &file.plugins {
            self.read_plugins(context, plugins);
        }
        if let Some(server) = &file.server {
            self.read_server(context, server);
        }
        for raw in all_monitoring(file) {
            if let Some(level) = monitoring::log_level(context, raw) {
                self.log_level.say(context, "log level", level, context.at(raw.at));
            }
        }
        // Nothing else reads it where the file has no sync.
        if let Some(raw) = &file.keys.monitoring {
            monitoring::read(context, raw);
        }
    }

    fn read_state(&mut self, context: &mut Context<'_>, raw: &raw::State) {
        let Some(url) = &raw.url else { return };
        let at = context.at_key(raw.at, "url");
        match url.strip_prefix("sqlite://").filter(|path| !path.is_empty()) {
            Some(path) => {
                let url = state_url(context, raw.at, path);
                self.state.say(context, "state.url", url, at);
            }
            None => {
                let message = "the state is kept in an SQLite file in this version";
                let problem = Problem::error(codes::UNSUPPORTED_STATE, &at, message);
                context.report(problem.suggest("\"url\": \"sqlite://tidelock.db\""));
            }
        }
    }

    fn read_plugins(&mut self, context: &mut Context<'_>, raw: &raw::Plugins) {
        if let Some(dir) = &raw.dir {
            let dir = context.documents.path(raw.at, dir);
            self.plugin_dir.say(context, "plugins.dir", dir, context.at_key(raw.at, "dir"));
        }
        if let Some(raw) = &raw.limits {
            let default = PluginLimits::default();
            let limits = PluginLimits {
                call_ms: raw.call_ms.unwrap_or(default.call_ms),
                row_us: raw.row_us.unwrap_or(default.row_us),
                max_call_ms: raw.max_call_ms.unwrap_or(default.max_call_ms),
                memory_bytes: raw.memory_bytes.unwrap_or(default.memory_bytes),
                table_elements: raw.table_elements.unwrap_or(default.table_elements),
                stack_bytes: raw.stack_bytes.unwrap_or(default.stack_bytes),
                call_rows: raw.call_rows.unwrap_or(default.call_rows),
                output_bytes: raw.output_bytes.unwrap_or(default.output_bytes),
                value_bytes: raw.value_bytes.unwrap_or(default.value_bytes),
                row_violations: raw.row_violations.unwrap_or(default.row_violations),
                message_chars: raw.message_chars.unwrap_or(default.message_chars),
                log_lines: raw.log_lines.unwrap_or(default.log_lines),
                log_bytes: raw.log_bytes.unwrap_or(default.log_bytes),
                file_bytes: raw.file_bytes.unwrap_or(default.file_bytes),
                compile_seconds: raw.compile_seconds.unwrap_or(default.compile_seconds),
                compile_memory_bytes: raw.compile_memory_bytes.unwrap_or(default.compile_memory_bytes),
            };
            self.plugin_limits.say(context, "plugins.limits", limits, context.at(raw.at));
        }
        if let Some(grants) = &raw.grants {
            for (plugin, listed) in grants {
                for (index, grant) in listed.iter().enumerate().filter(|(_, grant)| !is_grantable(grant)) {
                    let path = [Step::Key("grants"), Step::Key(plugin), Step::Item(index)];
                    context.report(refused_grant(grant, &context.at_path(raw.at, &path)));
                }
            }
            let at = context.at_key(raw.at, "grants");
            self.plugin_grants.say(context, "plugins.grants", grants.clone(), at);
        }
        if let Some(raw) = &raw.rollback {
            let default = PluginRollback::default();
            let rules = PluginRollback {
                window_values: raw.window_values.unwrap_or(default.window_values),
                error_rate: raw.error_rate.unwrap_or(default.error_rate),
            };
            let rules = raw.enabled.unwrap_or(true).then_some(rules);
            self.plugin_rollback.say(context, "plugins.rollback", rules, context.at(raw.at));
        }
    }

    fn read_server(&mut self, context: &mut Context<'_>, raw: &raw::Server) {
        if let Some(listen) = &raw.listen {
            let at = context.at_key(raw.at, "listen");
            if !is_address(listen) {
                let message = "\"listen\" must be an address and a port";
                let problem = Problem::error(codes::INVALID_VALUE, &at, message);
                context.report(problem.suggest(format!("\"listen\": \"{DEFAULT_LISTEN}\"")));
            }
            self.listen.say(context, "server.listen", listen.clone(), at);
        }
        if let Some(token) = &raw.token {
            let at = context.at_key(raw.at, "token");
            if token.is_empty() {
                context.report(Problem::error(codes::INVALID_VALUE, &at, "the token is empty"));
            }
            credentials::warn_literal(context, raw.at, "token");
            self.token.say(context, "server.token", Secret::new(token.as_str()), at);
        }
    }

    /// The configuration with everything that was not said at its default. Paths are relative to the first file's folder.
    pub(super) fn config(self, context: &mut Context<'_>, files: &[File], pairs: Vec<PairConfig>) -> Config {
        if let Some((listen, at)) = &self.listen.0
            && is_address(listen)
            && !is_loopback(listen)
            && self.token.0.is_none()
            && !token_is_broken(context, files)
        {
            let message = format!("\"{listen}\" can be reached from other machines, so \"token\" is required");
            let problem = Problem::error(codes::TOKEN_REQUIRED, at, message);
            context.report(problem.suggest("add \"token\": \"${TIDELOCK_TOKEN}\", or listen on 127.0.0.1"));
        }
        let first = files.first().map_or(Place { file: 0, node: 0 }, |file| file.at);
        let level = self.log_level.value().map(|level| match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        });
        Config {
            pairs,
            state_url: self.state.value().unwrap_or_else(|| state_url(context, first, DEFAULT_STATE)),
            plugins: PluginSettings {
                dir: self.plugin_dir.value().unwrap_or_else(|| context.documents.path(first, DEFAULT_PLUGINS)),
                limits: self.plugin_limits.value().unwrap_or_default(),
                grants: self.plugin_grants.value().unwrap_or_default(),
                rollback: self.plugin_rollback.value().unwrap_or_else(|| Some(PluginRollback::default())),
            },
            server: ServerSettings {
                listen: self.listen.value().unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
                token: self.token.value(),
            },
            log_level: level.map(str::to_owned),
        }
    }
}

/// Whether a plugin can be granted this: a package or interface of WASI that tells it nothing about the world.
pub(in crate::config) fn is_grantable(grant: &str) -> bool {
    let (package, interface) = grant.split_once('/').unwrap_or((grant, "x"));
    GRANTABLE.contains(&package) && !interface.is_empty()
}

fn refused_grant(grant: &str, at: &Location) -> Problem {
    let message = format!("\"{grant}\" cannot be granted to a plugin");
    let problem = Problem::error(codes::INVALID_VALUE, at, message);
    if grant.starts_with("wasi:sockets") || grant.starts_with("wasi:http") {
        return problem.suggest("no plugin reaches the network: give it what it needs as a field");
    }
    match suggestion(grant, GRANTABLE) {
        Some(right) => problem.suggest(right),
        None => problem,
    }
}

fn token_is_broken(context: &Context<'_>, files: &[File]) -> bool {
    let servers = files.iter().filter_map(|file| context.documents.below(file.at, &[Step::Key("server")]));
    servers.into_iter().any(|place: Place| context.is_broken(place, "token"))
}

fn state_url(context: &Context<'_>, place: Place, path: &str) -> String {
    match path {
        MEMORY => format!("sqlite://{MEMORY}"),
        path => format!("sqlite://{}", context.documents.path(place, path).display()),
    }
}

/// `HOST:PORT`.
fn is_address(listen: &str) -> bool {
    listen.parse::<SocketAddr>().is_ok()
        || listen.rsplit_once(':').is_some_and(|(host, port)| {
            let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.');
            !host.is_empty() && host.chars().all(is_name) && port.parse::<u16>().is_ok()
        })
}

pub(in crate::config) fn is_loopback(listen: &str) -> bool {
    match listen.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => listen.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
    }
}

/// Every `monitoring` of a file: a service has one log.
fn all_monitoring(file: &File) -> impl Iterator<Item = &raw::Monitoring> {
    let syncs = file.syncs.iter().flatten().map(|sync| &sync.keys);
    let connected = file.connected_systems.iter().flatten();
    let spokes = connected.flat_map(|system| {
        let mappings = system.mappings.iter().flatten().map(|(_, mapping)| &mapping.keys);
        std::iter::once(&system.keys).chain(mappings)
    });
    std::iter::once(&file.keys).chain(syncs).chain(spokes).filter_map(|keys| keys.monitoring.as_ref())
}
