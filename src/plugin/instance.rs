//! One live instance of a plugin: its store, its functions, and the limits around every entry into it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower, ResourceAny, TypedFunc};
use wasmtime::{Engine, Store, Trap};

use super::bindings::{Bound, CallError, Context, Exports, Opener, PluginInfo, Role};
use super::limits::{
    CALLS_PER_INSTANCE, Denied, Fault, FaultKind, HANDLES_MAX, OPENED_PER_INSTANCE, Usage, guest_error, hostcall_bytes,
    load_deadline, printable, ticks,
};
use super::wasi::Wasi;
use super::{CallContext, PluginError};
use crate::config::PluginLimits;

/// The host's side of a store.
pub(super) struct Guest {
    plugin: Arc<str>,
    usage: Usage,
    wasi: Option<Box<Wasi>>,
}

impl Guest {
    /// What WASI answers from; only plugins that were granted it ask.
    pub(super) fn wasi(&mut self) -> &mut Wasi {
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(&self.plugin, &PluginLimits::default())))
    }

    /// Everything that WASI tells during the next entry follows from the entry alone.
    fn fix_world(&mut self, context: &CallContext, entry: impl Hash) {
        if let Some(wasi) = &mut self.wasi {
            wasi.fix(context, entry);
        }
    }

    /// Whether this call has logged enough.
    pub(super) fn log_is_full(&self) -> bool {
        self.usage.log_is_full()
    }

    /// `log.write`.
    pub(super) fn log(&mut self, level: u8, message: &str) {
        let Some(line) = self.usage.log_line(message) else { return };
        match level {
            0 | 1 => tracing::debug!(plugin = &*self.plugin, "{line}"),
            2 => tracing::info!(plugin = &*self.plugin, "{line}"),
            // A plugin's error is its own: the host's errors are about the host.
            _ => tracing::warn!(plugin = &*self.plugin, "{line}"),
        }
    }
}

/// Why an entry into a guest gave no result.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// The guest failed; its instance must not be used again.
    Fault(Fault),
    /// The guest answered with a `plugin-error`; its instance is sound.
    Refused(CallError),
    /// The guest does not take these parameters; its instance is sound.
    NotOpened(CallError),
    /// The guest cannot be entered at all, whatever the input.
    Unusable(PluginError),
    /// Every place for an instance is taken.
    NoRoom,
}

/// A plugin's code, ready to be instantiated.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) plugin: Arc<str>,
    pub(super) pre: InstancePre<Guest>,
    pub(super) exports: Exports,
    /// Whether it was granted any of WASI.
    pub(super) granted: bool,
}

/// Which function is entered, and what holds around it.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) function: &'a Arc<str>,
    pub(super) params: &'a Arc<str>,
    pub(super) context: &'a CallContext,
    pub(super) deadline: Duration,
}

impl Entry<'_> {
    /// What goes with the input of a columnar function.
    pub(super) fn columnar<I>(&self, handle: ResourceAny, input: I) -> (ResourceAny, Context, I) {
        (handle, self.context(), input)
    }

    /// What goes with the texts of a simple function.
    pub(super) fn simple<I>(&self, texts: I) -> (Context, Arc<str>, Arc<str>, I) {
        (self.context(), Arc::clone(self.function), Arc::clone(self.params), texts)
    }

    /// The context as it crosses to the guest.
    pub(super) fn context(&self) -> Context {
        Context {
            now_micros: self.context.now_micros,
            pair: Arc::clone(&self.context.pair),
            input_system: Arc::clone(&self.context.input_system),
            output_system: Arc::clone(&self.context.output_system),
            trace_id: String::new(),
        }
    }
}

/// A live instance. Used by one thread at a time, for one pair only.
pub(super) struct Instance {
    store: Store<Guest>,
    bound: Bound,
    opened: HashMap<(Arc<str>, Arc<str>), ResourceAny>,
    calls: u32,
}

impl Instance {
    /// A fresh instance; its start functions run within the deadline of loading.
    pub(super) fn new(image: &Image, engine: &Engine, limits: &PluginLimits) -> Result<Self, CallFailure> {
        let wasi = image.granted.then(|| Box::new(Wasi::new(&image.plugin, limits)));
        let guest = Guest { plugin: Arc::clone(&image.plugin), usage: Usage::new(limits), wasi };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.usage);
        store.epoch_deadline_trap();
        store.set_max_component_handles(HANDLES_MAX);
        arm(&mut store, load_deadline(limits), 0);
        let instance = match image.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => return Err(CallFailure::NoRoom),
            Err(error) => return Err(CallFailure::Fault(fault(&error, store.data()))),
        };
        let bound = image.exports.bind(&mut store, &instance).map_err(CallFailure::Unusable)?;
        Ok(Self { store, bound, opened: HashMap::new(), calls: 0 })
    }

    /// `meta.describe`.
    pub(super) fn describe(&mut self) -> Result<PluginInfo, CallFailure> {
        let deadline = load_deadline(&self.limits());
        arm(&mut self.store, deadline, 0);
        let described = self.bound.describe.call(&mut self.store, ());
        described.map(|(info,)| info).map_err(|error| self.failed(&error))
    }

    /// The instance's typed functions.
    pub(super) fn bound(&self) -> &Bound {
        &self.bound
    }

    /// What the guest may use up.
    pub(super) fn limits(&self) -> PluginLimits {
        self.store.data().usage.limits()
    }

    /// Enters the guest once with an input of so many bytes, within all limits. `params` adds what goes with the input.
    pub(super) fn enter<I, P, R>(
        &mut self,
        function: TypedFunc<P, (Result<R, CallError>,)>,
        entry: &Entry<'_>,
        (input, bytes): (I, usize),
        params: impl FnOnce(I) -> P,
    ) -> Result<R, CallFailure>
    where
        I: Hash,
        P: ComponentNamedList + Lower,
        R: Lift,
    {
        self.calls += 1;
        self.store.data_mut().fix_world(entry.context, (entry.function, entry.params, &input));
        arm(&mut self.store, entry.deadline, bytes);
        let (answer,) = function.call(&mut self.store, params(input)).map_err(|error| self.failed(&error))?;
        answer.map_err(CallFailure::Refused)
    }

    /// Opens a columnar function and asks it which fields it wants; empty = all.
    pub(super) fn fields(&mut self, opener: Opener, entry: &Entry<'_>) -> Result<Vec<String>, CallFailure> {
        let handle = self.handle(opener, entry.function, entry.params)?;
        let Some(fields) = opener.fields else { return Ok(Vec::new()) };
        self.store.data_mut().fix_world(&CallContext::none(), ());
        arm(&mut self.store, entry.deadline, 0);
        let asked = fields.call(&mut self.store, (handle,));
        asked
            .map(|(names,)| names)
            .map_err(|error| self.open_failed(entry.function, "say which fields it wants", &error))
    }

    /// Whether another call may use this instance.
    pub(super) fn is_reusable(&self) -> bool {
        self.calls < CALLS_PER_INSTANCE
            && self.opened.len() < OPENED_PER_INSTANCE
            && !self.store.data().usage.memory_is_high()
    }

    /// The opened function; opening is the guest's code too, with a deadline of its own. What fails here fails for any input.
    ///
    /// A handle lives as long as its instance. Its destructor, the guest's code once more, is never run: everything that it could
    /// give back goes with the instance.
    pub(super) fn handle(
        &mut self,
        opener: Opener,
        function: &Arc<str>,
        params: &Arc<str>,
    ) -> Result<ResourceAny, CallFailure> {
        let key = (Arc::clone(function), Arc::clone(params));
        if let Some(handle) = self.opened.get(&key) {
            return Ok(*handle);
        }
        // Opened once for many calls: nothing of this one may stay.
        self.store.data_mut().fix_world(&CallContext::none(), ());
        let deadline = load_deadline(&self.limits());
        arm(&mut self.store, deadline, params.len());
        let opened = opener.open.call(&mut self.store, key.clone());
        let handle = match opened {
            Ok((Ok(handle),)) => handle,
            Ok((Err(error),)) => return Err(CallFailure::NotOpened(error)),
            Err(error) => return Err(self.open_failed(function, "open with its parameters", &error)),
        };
        self.opened.insert(key, handle);
        Ok(handle)
    }

    fn open_failed(&self, function: &str, what: &str, error: &wasmtime::Error) -> CallFailure {
        let fault = fault(error, self.store.data()).into_value_error();
        let message = format!("`{function}` failed to {what}: {} [{}]", fault.message, fault.code);
        CallFailure::Unusable(PluginError::new("plugin.open_failed", message))
    }

    fn failed(&self, error: &wasmtime::Error) -> CallFailure {
        CallFailure::Fault(fault(error, self.store.data()))
    }
}

/// The error of [`CallFailure::NoRoom`].
pub(super) fn no_room() -> PluginError {
    PluginError::new("plugin.busy", "every plugin instance is in use; try again later")
}

/// The error of parameters that a guest does not take.
pub(super) fn refused_params(function: &str, error: &CallError) -> PluginError {
    let safe = guest_error(&error.code, &error.message);
    let message = format!("`{function}` does not take these parameters: {} ({})", safe.message, safe.code);
    let code = if error.retryable { "plugin.retryable" } else { "plugin.invalid_params" };
    PluginError::new(code, message)
}

/// A plugin whose functions are described in a role that it does not export; `describe` is checked against that.
pub(super) fn lacks(role: Role) -> CallFailure {
    CallFailure::Unusable(PluginError::new("plugin.contract", format!("it exports no {}", role.name())))
}

/// Sets every limit of one entry into the guest.
fn arm(store: &mut Store<Guest>, deadline: Duration, input_bytes: usize) {
    store.data_mut().usage.reset_call();
    store.set_epoch_deadline(ticks(deadline));
    let limits = store.data().usage.limits();
    store.set_hostcall_fuel(hostcall_bytes(&limits, input_bytes));
}

/// Names the failure of an entry. The deadline comes first: a guest that is out of memory may loop.
fn fault(error: &wasmtime::Error, guest: &Guest) -> Fault {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Fault::new(FaultKind::Deadline, "the plugin took longer than it may");
    }
    if let Some(denied) = guest.usage.denied() {
        let limits = guest.usage.limits();
        let most = match denied {
            Denied::Memory => format!("{} MiB of memory", limits.memory_bytes >> 20),
            Denied::Table => format!("{} entries of a table", limits.table_elements),
        };
        return Fault::new(FaultKind::Memory, format!("the plugin asked for more than its {most}"));
    }
    let text = printable(&error.root_cause().to_string(), 300);
    match trap {
        Some(_) => Fault::new(FaultKind::Trap, text),
        None if error.is::<wasmtime_wasi::I32Exit>() => Fault::new(FaultKind::Trap, "the plugin wanted to exit"),
        // The type is private to wasmtime; its text is checked by a test.
        None if text.contains("fuel allocated for hostcalls") => {
            Fault::new(FaultKind::OutputLimit, "the plugin returned more than it may for this input")
        }
        None => Fault::new(FaultKind::BadOutput, text),
    }
}
