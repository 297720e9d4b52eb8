//! What the commands that need a configuration share: reading it, opening the state, loading the plugins.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::{EXIT_CONFIGURATION, check};
use crate::config::{self, Config, PluginSettings, Problem};
use crate::connector::registry;
use crate::http;
use crate::pipeline::binding::check_functions;
use crate::plugin::{Catalog, CatalogSettings, Catalogue, Watch, default_cache_dir};
use crate::state::sqlite::SqliteState;
use crate::state::{Past, StateStore};

/// Where the state is if nothing else is said.
pub const DEFAULT_STATE: &str = "sqlite://tidelock.db";

/// Which configuration, and what of it is overridden.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration files
    #[arg(required = true, value_name = "CONFIG")]
    pub files: Vec<PathBuf>,
    /// Folder of the plugins, in place of the configuration's
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Where the state is, in place of the configuration's
    #[arg(long, value_name = "URL")]
    pub state: Option<String>,
}

/// A configuration with its state and plugins.
pub struct Service {
    /// The configuration.
    pub config: Config,
    /// The durable state; where none was made yet an empty one, until [`Service::own_state`].
    pub state: Arc<dyn StateStore>,
    /// What was written.
    pub past: Arc<dyn Past>,
    /// Whether the state is this process's alone.
    pub owns_state: bool,
    catalog: Arc<Catalog>,
}

impl ConfigArgs {
    /// Reads the configuration, overrides applied.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(&self) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let registry = config::Registry {
            system_types: registry::SYSTEM_TYPES,
            planned_system_types: registry::PLANNED_SYSTEM_TYPES,
        };
        let mut loaded = config::load(&self.files, &registry)?;
        if let Some(dir) = &self.plugins {
            loaded.config.plugins.dir.clone_from(dir);
        }
        if let Some(state) = &self.state {
            loaded.config.state_url.clone_from(state);
        }
        Ok((loaded.config, loaded.warnings))
    }
}

impl Service {
    /// Reads the configuration, says what is wrong with it, opens the state (alone, if `exclusive`) and loads the plugins. Makes no
    /// state file. The inner error is the exit code where the configuration is wrong.
    ///
    /// # Errors
    /// Where the state or the plugin host cannot be had.
    pub async fn start(args: &ConfigArgs, exclusive: bool, json: bool) -> anyhow::Result<Result<Self, ExitCode>> {
        let (config, warnings) = match args.load() {
            Ok(loaded) => loaded,
            Err(problems) => {
                check::report(&problems, json);
                return Ok(Err(ExitCode::from(EXIT_CONFIGURATION)));
            }
        };
        crate::telemetry::start(config.log_level.as_deref().unwrap_or("info"), json);
        for warning in warnings {
            tracing::warn!(code = warning.code, "{}: {}", warning.at, warning.message);
        }
        let catalog = open_catalog(&config.plugins).await?;
        let problems: Vec<Problem> =
            config.pairs.iter().flat_map(|pair| check_functions(pair, catalog.snapshot().as_ref())).collect();
        if problems.iter().any(Problem::is_error) {
            check::report(&problems, json);
            return Ok(Err(ExitCode::from(EXIT_CONFIGURATION)));
        }
        let owns_state = exclusive && state_exists(&config.state_url);
        let state = if owns_state { own(&config).await? } else { peek_state(&config.state_url).await? };
        let past = Arc::<SqliteState>::clone(&state);
        Ok(Ok(Self { config, state, past, owns_state, catalog }))
    }

    /// Whether a state file was made already.
    pub fn has_state(&self) -> bool {
        state_exists(&self.config.state_url)
    }

    /// Makes the state where there is none yet: once it is known that something can run.
    ///
    /// # Errors
    /// Where the state cannot be had.
    pub async fn own_state(&mut self) -> anyhow::Result<()> {
        if !self.owns_state {
            let state = own(&self.config).await?;
            self.past = Arc::<SqliteState>::clone(&state);
            self.state = state;
            self.owns_state = true;
        }
        Ok(())
    }

    /// Reloads plugins as their files change, for as long as the answer is held.
    pub fn watch_plugins(&self) -> Watch {
        self.catalog.watch()
    }

    /// What the plugins do, for the HTTP server.
    pub fn tell_plugins(&self) -> http::Plugins {
        let catalog = Arc::clone(&self.catalog);
        Box::new(move || {
            let set = catalog.current();
            serde_json::json!({"plugins": set.details(), "refused": set.refused()})
        })
    }

    /// The plugins.
    pub fn catalogue(&self) -> Arc<dyn Catalogue> {
        Arc::<Catalog>::clone(&self.catalog)
    }
}

/// Starts the plugin host: this program is its compiler.
///
/// # Errors
/// Where plugins cannot be compiled or kept here at all.
pub async fn open_catalog(plugins: &PluginSettings) -> anyhow::Result<Arc<Catalog>> {
    let compiler = std::env::current_exe().context("this program does not know where it is")?;
    let settings = CatalogSettings { plugins: plugins.clone(), compiler, cache_dir: default_cache_dir() };
    Ok(Catalog::start(settings).await?)
}

/// Opens the state; `exclusive` makes it where it is missing.
///
/// # Errors
/// Where it cannot be used.
pub async fn open_state(url: &str, exclusive: bool) -> anyhow::Result<Arc<dyn StateStore>> {
    Ok(Arc::new(SqliteState::open(url, exclusive).await?))
}

/// Opens the state as its owner, who forgets what is older than any pair wants it kept.
async fn own(config: &Config) -> anyhow::Result<Arc<SqliteState>> {
    let state = SqliteState::open(&config.state_url, true).await?;
    let days = config.pairs.iter().filter_map(|pair| pair.planned.monitoring.retention_days).max();
    Ok(Arc::new(match days {
        Some(days) => state.keeping(std::time::Duration::from_secs(u64::from(days) * 24 * 60 * 60)),
        None => state,
    }))
}

/// Whether a service has that state at the moment.
pub fn state_is_owned(url: &str) -> bool {
    SqliteState::is_owned(url)
}

/// The state for a command that only looks: an empty one where none was made yet.
async fn peek_state(url: &str) -> anyhow::Result<Arc<SqliteState>> {
    Ok(Arc::new(SqliteState::open(if state_exists(url) { url } else { "sqlite://:memory:" }, false).await?))
}

fn state_exists(url: &str) -> bool {
    Path::new(url.strip_prefix("sqlite://").unwrap_or(url)).exists()
}
