//! The guest alone, columns in and out, under the limits that the host sets: the price of the sandbox without the host's rows.

use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker, ResourceAny};
use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder};

mod bindings {
    wasmtime::component::bindgen!({ path: "wit", world: "field-transform-plugin" });
}

use bindings::FieldTransformPlugin;
use bindings::exports::tidelock::plugin::field_transform::Context;
pub(crate) use bindings::tidelock::plugin::types::{Column, RowError};

struct State {
    limits: StoreLimits,
}

impl bindings::tidelock::plugin::log::Host for State {
    fn write(&mut self, _: u8, _: String) {}
}

impl bindings::tidelock::plugin::types::Host for State {}

/// One live guest with one opened function.
pub(crate) struct Sandbox {
    store: Store<State>,
    plugin: FieldTransformPlugin,
    handle: ResourceAny,
    context: Context,
}

impl Sandbox {
    /// Settings as in `src/plugin/engine.rs`.
    pub(crate) fn new(component: &[u8], function: &str) -> Self {
        let mut config = Config::new();
        config
            .concurrency_support(false)
            .epoch_interruption(true)
            .max_wasm_stack(512 << 10)
            .wasm_backtrace_max_frames(NonZeroUsize::new(16));
        let engine = Engine::new(&config).unwrap();
        let ticked = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticked.upgrade() {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let component = Component::new(&engine, component).unwrap();
        let mut linker = Linker::new(&engine);
        FieldTransformPlugin::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).unwrap();
        let state = State { limits: StoreLimitsBuilder::new().memory_size(64 << 20).build() };
        let mut store = Store::new(&engine, state);
        store.limiter(|state| &mut state.limits);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(1_000);
        let plugin = FieldTransformPlugin::instantiate(&mut store, &component, &linker).unwrap();
        let transform = plugin.tidelock_plugin_field_transform().transform();
        let handle = transform.call_open(&mut store, function, "{}").unwrap().unwrap();
        let empty = String::new;
        let context =
            Context { now_micros: 0, pair: empty(), input_system: empty(), output_system: empty(), trace_id: empty() };
        Self { store, plugin, handle, context }
    }

    /// One call under a deadline and a limit of what it may give back. The batch is used up, as by native code.
    pub(crate) fn call(&mut self, input: Column) -> (Column, Vec<RowError>) {
        self.store.set_epoch_deadline(45);
        self.store.set_hostcall_fuel(4 * input.data.len() + (1 << 20));
        let transform = self.plugin.tidelock_plugin_field_transform().transform();
        let outcome = transform.call_apply(&mut self.store, self.handle, &self.context, &input).unwrap().unwrap();
        (outcome.output, outcome.errors)
    }
}
