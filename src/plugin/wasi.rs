//! WASI for plugins that were granted it: an empty world whose every answer follows from the call, so that results can be replayed.
//!
//! Clock and chance are ours: the clock stands at the time of the call, and chance is drawn from the call's own input. The rest comes from
//! `wasmtime-wasi` on a context that nothing was put into: no files, variables or arguments, standard input is closed, and what is printed
//! goes to the plugin's log. Sockets and HTTP are not linked at all. Nothing here waits: a deadline cannot end a wait on the host's side.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWrite;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, HasData, Linker, Lower, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, filesystem, sync};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamError, subscribe};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io;
use wasmtime_wasi_io::bytes::Bytes;

use super::CallContext;
use super::images::DigestHasher;
use super::instance::Guest;
use super::limits::Usage;
use crate::config::PluginLimits;

/// Interfaces of ours answer for every 0.2.x.
const VERSION: &str = "0.2.0";
/// Bytes of chance in one answer.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// What may be printed at once; all of it is taken, and most of it dropped.
const PRINT_BYTES_MAX: usize = 4 << 10;
/// Part of a line that is kept until its end comes.
const LINE_BYTES_MAX: usize = 1_000;

/// The world of one instance.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    now_micros: i64,
    chance: Chance,
    printed: Printed,
}

impl Wasi {
    pub(super) fn new(plugin: &Arc<str>, limits: &PluginLimits) -> Self {
        let printing = Printing { plugin: Arc::clone(plugin), usage: Usage::new(limits), line: Vec::new() };
        let printed = Printed(Arc::new(Mutex::new(printing)));
        let context = WasiCtx::builder().stdout(printed.clone()).stderr(printed.clone()).build();
        Self { context, table: ResourceTable::new(), now_micros: 0, chance: Chance::of(&()), printed }
    }

    /// Sets the world for one entry into the guest: the same entry finds the same world.
    pub(super) fn fix(&mut self, context: &CallContext, entry: impl Hash) {
        self.now_micros = context.now_micros;
        let CallContext { now_micros, pair, input_system, output_system } = context;
        self.chance = Chance::of(&(now_micros, pair, input_system, output_system, entry));
        self.printed.lock(|printing| printing.usage.reset_call());
    }

    /// Nanoseconds since 1970; a clock cannot show what is before.
    fn now_nanos(&self) -> u64 {
        u64::try_from(self.now_micros).unwrap_or_default().saturating_mul(1_000)
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { context, table, .. } = self.wasi();
        WasiCtxView { ctx: context, table }
    }
}

/// SHA-256 in counter mode: as many bytes as are asked for, none of which tells the next.
struct Chance {
    seed: [u8; 32],
    block: u64,
    left: Vec<u8>,
}

impl Chance {
    fn of(entry: &impl Hash) -> Self {
        let mut hasher = DigestHasher::default();
        entry.hash(&mut hasher);
        Self { seed: hasher.digest(), block: 0, left: Vec::new() }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.left.len() < count {
            self.block += 1;
            self.left.extend(Sha256::new().chain_update(self.seed).chain_update(self.block.to_le_bytes()).finalize());
        }
        self.left.drain(..count).collect()
    }

    fn number(&mut self) -> u64 {
        self.bytes(8).first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// Standard output and error: lines of the plugin's log.
#[derive(Clone)]
struct Printed(Arc<Mutex<Printing>>);

struct Printing {
    plugin: Arc<str>,
    usage: Usage,
    line: Vec<u8>,
}

impl Printed {
    fn lock(&self, change: impl FnOnce(&mut Printing)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Printing {
    fn print(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend(part.iter().filter(|byte| **byte != b'\n').take(room));
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if let Some(line) = self.usage.log_line(&String::from_utf8_lossy(&line)) {
                    tracing::info!(plugin = &*self.plugin, "{line}");
                }
            }
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    /// Only WASI 0.3 asks for it, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.lock(|printing| printing.print(&bytes));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(PRINT_BYTES_MAX)
    }
}

/// A wait that is over: time does not pass during a call.
struct Past;

#[async_trait]
impl Pollable for Past {
    async fn ready(&mut self) {}
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

struct Streams;

impl HasData for Streams {
    type Data<'a> = &'a mut ResourceTable;
}

/// Adds everything that can be granted; what a plugin imports of it is checked against its grants before.
///
/// # Errors
/// Never in practice: the names are fixed.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_clocks(linker)?;
    add_random(linker)?;
    io::error::add_to_linker::<Guest, Streams>(linker, |guest| guest.ctx().table)?;
    sync::io::poll::add_to_linker::<Guest, Streams>(linker, |guest| guest.ctx().table)?;
    sync::io::streams::add_to_linker::<Guest, Streams>(linker, |guest| guest.ctx().table)?;
    sync::filesystem::types::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(linker, Guest::filesystem)?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)
}

type Store<'a> = StoreContextMut<'a, Guest>;

fn add_clocks(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut wall = linker.instance(&format!("wasi:clocks/wall-clock@{VERSION}"))?;
    wall.func_wrap("now", |mut store: Store<'_>, ()| {
        let nanos = store.data_mut().wasi().now_nanos();
        let nanoseconds = u32::try_from(nanos % 1_000_000_000).unwrap_or_default();
        Ok((Datetime { seconds: nanos / 1_000_000_000, nanoseconds },))
    })?;
    wall.func_wrap("resolution", |_: Store<'_>, ()| Ok((Datetime { seconds: 0, nanoseconds: 1_000 },)))?;
    let mut monotonic = linker.instance(&format!("wasi:clocks/monotonic-clock@{VERSION}"))?;
    monotonic.func_wrap("now", |mut store: Store<'_>, ()| Ok((store.data_mut().wasi().now_nanos(),)))?;
    monotonic.func_wrap("resolution", |_: Store<'_>, ()| Ok((1_000_u64,)))?;
    for name in ["subscribe-instant", "subscribe-duration"] {
        monotonic.func_wrap(name, |mut store: Store<'_>, (_,): (u64,)| Ok((past(store.data_mut())?,)))?;
    }
    Ok(())
}

fn past(guest: &mut Guest) -> wasmtime::Result<Resource<DynPollable>> {
    let table = &mut guest.wasi().table;
    let past = table.push(Past)?;
    subscribe(table, past)
}

fn add_random(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for (interface, bytes, number) in [
        ("random", "get-random-bytes", "get-random-u64"),
        ("insecure", "get-insecure-random-bytes", "get-insecure-random-u64"),
    ] {
        let mut random = linker.instance(&format!("wasi:random/{interface}@{VERSION}"))?;
        random.func_wrap(bytes, |mut store: Store<'_>, (count,): (u64,)| {
            if count > RANDOM_BYTES_MAX {
                wasmtime::bail!("{count} random bytes at once; at most {RANDOM_BYTES_MAX} are given");
            }
            Ok((store.data_mut().wasi().chance.bytes(usize::try_from(count).unwrap_or_default()),))
        })?;
        random.func_wrap(number, |mut store: Store<'_>, ()| Ok((store.data_mut().wasi().chance.number(),)))?;
    }
    let mut seed = linker.instance(&format!("wasi:random/insecure-seed@{VERSION}"))?;
    seed.func_wrap("insecure-seed", |mut store: Store<'_>, ()| {
        let chance = &mut store.data_mut().wasi().chance;
        Ok(((chance.number(), chance.number()),))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_follows_from_the_entry_and_never_repeats_within() {
        let (mut one, mut same, mut other) = (Chance::of(&("a", 1)), Chance::of(&("a", 1)), Chance::of(&("a", 2)));
        let drawn: Vec<u64> = (0..100).map(|_| one.number()).collect();
        assert_eq!(same.bytes(800), drawn.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
        assert_ne!(other.number(), drawn[0]);
        assert_eq!(drawn.iter().collect::<std::collections::HashSet<_>>().len(), 100);
    }

    #[test]
    fn what_is_printed_is_lines_of_bounded_number_and_length() {
        let mut printing =
            Printing { plugin: "p".into(), usage: Usage::new(&PluginLimits::default()), line: Vec::new() };
        for _ in 0..10_000 {
            printing.print(&[b'x'; 4_096]);
        }
        assert_eq!(printing.line.len(), LINE_BYTES_MAX);
        printing.print(b"\nhalf");
        assert_eq!(printing.line, b"half");
    }
}
