//! One live instance of a plugin: its store, its functions, and the limits around every entry into it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{InstancePre, ResourceAny};
use wasmtime::{Engine, Store, Trap};

use super::bindings::{Bound, CallError, Context, Exports, PluginInfo, Transform};
use super::column::{check_size, decode, encode, kind_code, value_size};
use super::limits::{
    CALLS_PER_INSTANCE, Fault, FaultKind, HANDLES_MAX, OPENED_PER_INSTANCE, Usage, guest_error, hostcall_bytes,
    load_deadline, printable, ticks,
};
use super::wasi::Wasi;
use super::{CallContext, PluginError, ValueError};
use crate::config::PluginLimits;
use crate::value::{Kind, Value};

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

/// One call of a field transform.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) function: &'a Arc<str>,
    pub(super) params: &'a Arc<str>,
    pub(super) context: &'a CallContext,
    /// Kind of the values that are not null.
    pub(super) kind: Kind,
    /// Kind that the function declared to return.
    pub(super) output: Kind,
    pub(super) values: &'a [Value],
    pub(super) deadline: Duration,
}

/// A live instance. Used by one thread at a time, for one pair only.
pub(super) struct Instance {
    store: Store<Guest>,
    bound: Bound,
    opened: HashMap<(Arc<str>, Arc<str>), ResourceAny>,
    calls: u32,
    load_deadline: Duration,
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
        let load_deadline = load_deadline(limits);
        arm(&mut store, load_deadline, 0);
        let instance = match image.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => return Err(CallFailure::NoRoom),
            Err(error) => return Err(CallFailure::Fault(fault(&error, store.data()))),
        };
        let bound = image.exports.bind(&mut store, &instance).map_err(CallFailure::Unusable)?;
        Ok(Self { store, bound, opened: HashMap::new(), calls: 0, load_deadline })
    }

    /// `meta.describe`.
    pub(super) fn describe(&mut self) -> Result<PluginInfo, CallFailure> {
        arm(&mut self.store, self.load_deadline, 0);
        let described = self.bound.describe.call(&mut self.store, ());
        described.map(|(info,)| info).map_err(|error| self.failed(&error))
    }

    /// Opens the function with its parameters, once. A simple function is asked to apply itself to nothing.
    pub(super) fn open(&mut self, call: &Call<'_>) -> Result<(), CallFailure> {
        match &self.bound.transform {
            None => Err(CallFailure::Unusable(PluginError::new("plugin.contract", "it exports no field transform"))),
            Some(Transform::Simple { .. }) => self.apply(&Call { values: &[], ..*call }).map(drop),
            Some(Transform::Columnar { .. }) => self.handle(call.function, call.params).map(drop),
        }
    }

    /// Applies the function to the values; as many results, in their order.
    pub(super) fn apply(&mut self, call: &Call<'_>) -> Result<Vec<Result<Value, ValueError>>, CallFailure> {
        self.calls += 1;
        match self.bound.transform.clone() {
            None => Err(CallFailure::Unusable(PluginError::new("plugin.contract", "it exports no field transform"))),
            Some(Transform::Columnar { apply, .. }) => {
                let handle = self.handle(call.function, call.params)?;
                let column = encode(call.kind, call.values);
                let entry = (call.function, call.params, &column.validity, &column.offsets, &column.data);
                self.store.data_mut().fix_world(call.context, entry);
                arm(&mut self.store, call.deadline, input_bytes(call.values));
                let (answer,) = apply
                    .call(&mut self.store, (handle, context(call.context), column))
                    .map_err(|error| self.failed(&error))?;
                let outcome = answer.map_err(CallFailure::Refused)?;
                decode(&outcome.output, &outcome.errors, call.output, call.values).map_err(CallFailure::Fault)
            }
            Some(Transform::Simple { apply }) => {
                let texts: Vec<_> = call.values.iter().map(Value::to_text).collect();
                self.store.data_mut().fix_world(call.context, (call.function, call.params, &texts));
                arm(&mut self.store, call.deadline, input_bytes(call.values));
                let params = (
                    context(call.context),
                    Arc::clone(call.function),
                    Arc::clone(call.params),
                    kind_code(call.kind),
                    texts,
                );
                let (answer,) = apply.call(&mut self.store, params).map_err(|error| self.failed(&error))?;
                simple_rows(answer.map_err(CallFailure::Refused)?, call).map_err(CallFailure::Fault)
            }
        }
    }

    /// Whether another call may use this instance.
    pub(super) fn is_reusable(&self) -> bool {
        self.calls < CALLS_PER_INSTANCE
            && self.opened.len() < OPENED_PER_INSTANCE
            && !self.store.data().usage.memory_is_high()
    }

    /// The opened transform; opening is the guest's code too, with a deadline of its own. What fails here fails for any input.
    fn handle(&mut self, function: &Arc<str>, params: &Arc<str>) -> Result<ResourceAny, CallFailure> {
        let key = (Arc::clone(function), Arc::clone(params));
        if let Some(handle) = self.opened.get(&key) {
            return Ok(*handle);
        }
        let Some(Transform::Columnar { open, .. }) = self.bound.transform.clone() else {
            return Err(CallFailure::Unusable(PluginError::new("plugin.contract", "it exports no columnar transform")));
        };
        // Opened once for many calls: nothing of this one may stay.
        self.store.data_mut().fix_world(&CallContext::none(), ());
        arm(&mut self.store, self.load_deadline, params.len());
        let opened = open.call(&mut self.store, key.clone());
        let handle = match opened {
            Ok((Ok(handle),)) => handle,
            Ok((Err(error),)) => return Err(CallFailure::NotOpened(error)),
            Err(error) => {
                let fault = fault(&error, self.store.data()).into_value_error();
                let message =
                    format!("`{function}` failed to open with its parameters: {} [{}]", fault.message, fault.code);
                return Err(CallFailure::Unusable(PluginError::new("plugin.open_failed", message)));
            }
        };
        self.opened.insert(key, handle);
        Ok(handle)
    }

    fn failed(&self, error: &wasmtime::Error) -> CallFailure {
        CallFailure::Fault(fault(error, self.store.data()))
    }
}

/// The error of parameters that a guest does not take.
pub(super) fn refused_params(function: &str, error: &CallError) -> PluginError {
    let safe = guest_error(&error.code, &error.message);
    let message = format!("`{function}` does not take these parameters: {} ({})", safe.message, safe.code);
    let code = if error.retryable { "plugin.retryable" } else { "plugin.invalid_params" };
    PluginError::new(code, message)
}

/// Sets every limit of one entry into the guest.
fn arm(store: &mut Store<Guest>, deadline: Duration, input_bytes: usize) {
    store.data_mut().usage.reset_call();
    store.set_epoch_deadline(ticks(deadline));
    store.set_hostcall_fuel(hostcall_bytes(input_bytes));
}

fn input_bytes(values: &[Value]) -> usize {
    values.iter().map(value_size).sum()
}

fn context(context: &CallContext) -> Context {
    Context {
        now_micros: context.now_micros,
        pair: Arc::clone(&context.pair),
        input_system: Arc::clone(&context.input_system),
        output_system: Arc::clone(&context.output_system),
        trace_id: String::new(),
    }
}

fn simple_rows(
    answers: Vec<Result<Option<String>, super::bindings::Failure>>,
    call: &Call<'_>,
) -> Result<Vec<Result<Value, ValueError>>, Fault> {
    if answers.len() != call.values.len() {
        let message = format!("{} results for {} values", answers.len(), call.values.len());
        return Err(Fault::new(FaultKind::BadOutput, message));
    }
    let row = |(answer, given): (Result<Option<String>, super::bindings::Failure>, &Value)| match answer {
        Err(failure) => Err(guest_error(&failure.code, &failure.message)),
        Ok(None) => Ok(Value::Null),
        Ok(Some(text)) => {
            check_size(text.len(), value_size(given))?;
            Value::from_text(call.output, &text)
                .map_err(|error| Fault::new(FaultKind::BadOutput, error.to_string()).into_value_error())
        }
    };
    Ok(answers.into_iter().zip(call.values).map(row).collect())
}

/// Names the failure of an entry. The deadline comes first: a guest that is out of memory may loop.
fn fault(error: &wasmtime::Error, guest: &Guest) -> Fault {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Fault::new(FaultKind::Deadline, "the plugin took longer than it may");
    }
    if guest.usage.memory_denied() {
        let mebibytes = guest.usage.memory_max() >> 20;
        return Fault::new(FaultKind::Memory, format!("the plugin asked for more than its {mebibytes} MiB of memory"));
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
