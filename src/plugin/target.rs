//! A function of a loaded plugin with its parameters: whether it may be called, and which fields it wants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bindings::Role;
use super::burnt::Burnt;
use super::host::{Host, LoadedFunction, LoadedPlugin};
use super::instance::{CallFailure, Entry, Instance, no_room, refused_params};
use super::limits::{FIELD_NAME_BYTES_MAX, FIELDS_MAX, load_deadline};
use super::run::Work;
use super::{CallContext, PluginError, resolve, transform, validate};

/// A function of a loaded plugin with its parameters.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) host: Arc<Host>,
    pub(super) plugin: Arc<LoadedPlugin>,
    /// Index into the plugin's functions.
    pub(super) function: usize,
    pub(super) params: Arc<str>,
}

impl Target {
    pub(super) fn function(&self) -> Result<&LoadedFunction, PluginError> {
        let missing = || PluginError::new("plugin.unknown_function", "the plugin no longer has this function");
        self.plugin.functions.get(self.function).ok_or_else(missing)
    }

    /// Whether the function can be called in this role, now.
    ///
    /// # Errors
    /// Where it has another role, or its breaker is open.
    pub(super) fn check(&self, role: Role) -> Result<(), PluginError> {
        let function = self.function()?;
        if function.function.role != role {
            let message = format!("`{}` is a {}, not a {}", function.name, function.function.role.name(), role.name());
            return Err(PluginError::new("plugin.wrong_role", message));
        }
        match function.breaker.open_for(Instant::now()) {
            Some(left) => Err(self.breaker_open(left)),
            None => Ok(()),
        }
    }

    /// Opens the function in an instance that is thrown away.
    ///
    /// # Errors
    /// Where the guest refuses the parameters or fails on them.
    pub(super) async fn probe(self) -> Result<(), PluginError> {
        self.ask().await.map(drop)
    }

    /// The fields that the function wants; empty = all. It is asked once.
    ///
    /// # Errors
    /// As [`Target::probe`].
    pub(super) async fn fields(&self) -> Result<Arc<[String]>, PluginError> {
        if self.function()?.function.role == Role::FieldTransform {
            let message = format!("`{}` is a field transform: it wants no fields", self.function()?.name);
            return Err(PluginError::new("plugin.wrong_role", message));
        }
        if let Some(known) = self.function()?.fields.get(&self.params) {
            return Ok(known);
        }
        self.ask().await
    }

    async fn ask(&self) -> Result<Arc<[String]>, PluginError> {
        let target = self.clone();
        let (asked, burnt) = self
            .host
            .run(move || {
                let started = Burnt::start();
                (target.open(), started.so_far())
            })
            .await?;
        let function = self.function()?;
        match asked {
            Ok(fields) => Ok(function.fields.keep(&self.params, fields.into())),
            Err(error) => {
                // A function that hangs here costs as much as one that hangs on a record.
                function.breaker.failed(Instant::now(), burnt, false);
                Err(error)
            }
        }
    }

    fn open(&self) -> Result<Vec<String>, PluginError> {
        let function = self.function()?;
        let mut instance = self.host.instantiate(&self.plugin.image).map_err(|failure| self.unusable(failure))?;
        let entry = Entry {
            function: &function.name,
            params: &self.params,
            context: &CallContext::none(),
            deadline: load_deadline(&self.host.limits),
        };
        let fields = match instance.bound().opener(function.function.role) {
            Some(opener) => instance.fields(opener, &entry),
            None => try_on_nothing(&mut instance, function, &entry).map(|()| Vec::new()),
        };
        let fields = fields.map_err(|failure| self.unusable(failure))?;
        let long = fields.iter().any(|name| name.len() > FIELD_NAME_BYTES_MAX);
        if long || fields.len() > FIELDS_MAX {
            let message = format!(
                "`{}` wants {} fields; at most {FIELDS_MAX} with names of at most {FIELD_NAME_BYTES_MAX} bytes are allowed",
                function.name,
                fields.len()
            );
            return Err(PluginError::new("plugin.open_failed", message));
        }
        Ok(fields)
    }

    /// Why the function cannot be called, whatever the values. (A simple function refuses its parameters when it is called.)
    pub(super) fn unusable(&self, failure: CallFailure) -> PluginError {
        let plugin = &self.plugin.stem;
        match failure {
            CallFailure::Unusable(error) => error,
            CallFailure::NoRoom => no_room(),
            CallFailure::Fault(fault) => {
                let fault = fault.into_value_error();
                let message = format!("plugin `{plugin}` failed to start: {} [{}]", fault.message, fault.code);
                PluginError::new("plugin.start_failed", message)
            }
            CallFailure::Refused(error) | CallFailure::NotOpened(error) => {
                let function = self.function().map_or("", |function| &*function.name);
                refused_params(function, &error)
            }
        }
    }

    pub(super) fn breaker_open(&self, left: Duration) -> PluginError {
        let function = self.function().map_or("", |function| &*function.name);
        let message = format!(
            "`{}/{function}` failed too often and is not called for {} s; see the log for its errors",
            self.plugin.stem,
            left.as_secs() + 1
        );
        PluginError::new("plugin.breaker_open", message)
    }
}

/// A simple function refuses its parameters when it is called, so it is called with nothing.
fn try_on_nothing(instance: &mut Instance, function: &LoadedFunction, entry: &Entry<'_>) -> Result<(), CallFailure> {
    match function.function.role {
        Role::FieldTransform => transform::Values::none(&function.function).call(instance, entry, 0..0).map(drop),
        Role::Validator => validate::Checks::none().call(instance, entry, 0..0).map(drop),
        Role::ConflictResolver => resolve::Conflict::none().call(instance, entry, 0..0).map(drop),
        // There is no simple form.
        Role::RecordTransform => Ok(()),
    }
}
