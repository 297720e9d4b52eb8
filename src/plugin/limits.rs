//! Every limit of a plugin in one place, with its reason. What users may change is [`PluginLimits`]; the rest are constants here.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::ValueError;
use super::engine::TICK;
use crate::config::PluginLimits;

/// Live instances of all plugins and pairs. Each reserves about 4 GiB of address space (guard pages), not memory.
pub(super) const LIVE_INSTANCES_MAX: u32 = 128;
/// Core instances, memories and tables of one plugin. A component for Python has some forty.
const STORE_INSTANCES_MAX: usize = 100;
const STORE_MEMORIES_MAX: usize = 4;
const STORE_TABLES_MAX: usize = 32;

/// Resources that a guest may hold: the host keeps their tables.
pub(super) const HANDLES_MAX: usize = 4_096;

/// Calls after which an instance is replaced: a slow leak never becomes a failure.
pub(super) const CALLS_PER_INSTANCE: u32 = 10_000;
/// Opened (function, parameters) per instance; configurations have a handful.
pub(super) const OPENED_PER_INSTANCE: usize = 64;

/// Input of one call: four times this is still within the output that a call may have by default.
pub(super) const CALL_BYTES_MAX: usize = 4 << 20;

const HOSTCALL_BYTES_FLOOR: usize = 1 << 20;
/// A value may grow to this many times its input even beyond the limit of a value: long texts can be trimmed and mapped too.
const VALUE_GROWTH_MAX: usize = 4;
/// Output of one call in relation to its input.
const OUTPUT_GROWTH_MAX: usize = 16;
const OUTPUT_BYTES_FLOOR: usize = 1 << 20;

/// Error codes that come from a guest.
const CODE_CHARS_MAX: usize = 64;
/// Messages that come from a guest.
pub(super) const MESSAGE_CHARS_MAX: usize = 500;

/// Characters of one line.
pub(super) const LOG_LINE_CHARS_MAX: usize = 1_000;

/// Rows that a function may fail on within [`BREAKER_WINDOW`], where it fails more often than not, before its breaker opens.
pub(super) const BREAKER_ROWS: u64 = 20;
/// Processor time that failed runs may burn within the window before a function runs at low priority only, and rests after each
/// of them: one call that runs into its deadline.
pub(super) const BURNT_FREE: Duration = Duration::from_millis(250);
/// Rest after a failed run, in what it burnt: a hostile function has a fifth of one core, however many records it fails on.
pub(super) const REST_PER_BURNT: u32 = 4;
/// See [`BREAKER_ROWS`].
pub(super) const BREAKER_WINDOW: Duration = Duration::from_secs(60);
/// How long an open breaker stays open.
pub(super) const BREAKER_COOL_DOWN: Duration = Duration::from_secs(30);

/// Values that a version must have seen before its error rate says anything.
pub(super) const ROLLBACK_VALUES_MIN: u64 = 50;
/// Digests per plugin that are remembered as taken back.
pub(super) const ROLLED_BACK_MAX: usize = 16;
/// Fields that a guest may want, or give back in a batch.
pub(super) const FIELDS_MAX: usize = 1_024;
/// Bytes of a field's name that a guest gives: no system allows longer ones.
pub(super) const FIELD_NAME_BYTES_MAX: usize = 256;
/// Parameters of one function whose fields are remembered; configurations have a handful.
pub(super) const PARAMS_KEPT_MAX: usize = 256;

/// Functions that one plugin may describe.
pub(super) const FUNCTIONS_MAX: usize = 256;
/// Examples that one function may have.
pub(super) const EXAMPLES_MAX: usize = 200;

/// Time of a call with so many rows.
pub fn call_deadline(limits: &PluginLimits, rows: usize) -> Duration {
    let rows = u64::try_from(rows).unwrap_or(u64::MAX);
    let wanted = Duration::from_millis(limits.call_ms) + Duration::from_micros(limits.row_us.saturating_mul(rows));
    wanted.min(Duration::from_millis(limits.max_call_ms))
}

/// Time of a run that only narrows down which row fails: a run that is stopped too early is split again, so nobody is blamed.
pub(super) fn split_deadline(limits: &PluginLimits, rows: usize) -> Duration {
    call_deadline(limits, rows) / 4
}

/// Time of a row that runs alone. It runs at low priority, so on a busy machine it waits for most of its time; it must not be
/// blamed for that.
pub(super) fn alone_deadline(limits: &PluginLimits) -> Duration {
    (call_deadline(limits, 1) * 4).min(Duration::from_millis(limits.max_call_ms))
}

/// Time of each step of loading (start functions, `describe`): it is off the sync's path, so it may take longer than a call.
pub(super) fn load_deadline(limits: &PluginLimits) -> Duration {
    Duration::from_millis(limits.call_ms.saturating_mul(5).min(limits.max_call_ms))
}

/// Epoch steps that cover the time; one more, because the first may end at once.
pub(super) fn ticks(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// What a guest may make the host allocate for so much input: it can return a million texts that all point at the same 60 MiB.
pub(super) fn hostcall_bytes(limits: &PluginLimits, input_bytes: usize) -> usize {
    input_bytes.saturating_mul(4).saturating_add(HOSTCALL_BYTES_FLOOR).min(limits.output_bytes)
}

/// Largest output of a call with so much input.
pub(super) fn output_bytes(input_bytes: usize) -> usize {
    input_bytes.saturating_mul(OUTPUT_GROWTH_MAX).saturating_add(OUTPUT_BYTES_FLOOR)
}

/// Largest output of one value with so much input.
pub(super) fn value_bytes(limits: &PluginLimits, input_bytes: usize) -> usize {
    input_bytes.saturating_mul(VALUE_GROWTH_MAX).max(limits.value_bytes)
}

/// A guest's error, made fit for logs and reviews: the code in kebab case, both of bounded length, without control characters.
pub(super) fn guest_error(code: &str, message: &str) -> ValueError {
    ValueError { code: kebab(code), message: printable(message, MESSAGE_CHARS_MAX) }
}

fn kebab(code: &str) -> String {
    // Nearly all are as they should be: a failure is made per row.
    if is_kebab(code) {
        return code.to_owned();
    }
    let mut safe = String::with_capacity(code.len().min(CODE_CHARS_MAX));
    for character in code.chars().take(CODE_CHARS_MAX) {
        match character {
            'a'..='z' | '0'..='9' => safe.push(character),
            'A'..='Z' => safe.push(character.to_ascii_lowercase()),
            _ if safe.is_empty() || safe.ends_with('-') => {}
            _ => safe.push('-'),
        }
    }
    let safe = safe.trim_end_matches('-');
    if safe.is_empty() { "error".to_owned() } else { safe.to_owned() }
}

/// Whether nothing would change.
fn is_kebab(code: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let words_only = code.split('-').all(|word| !word.is_empty() && word.bytes().all(is_plain));
    code.len() <= CODE_CHARS_MAX && words_only
}

/// At most `chars_max` characters, control characters as spaces: a guest cannot forge log lines or terminal sequences.
pub(super) fn printable(text: &str, chars_max: usize) -> String {
    if text.len() <= chars_max && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return text.to_owned();
    }
    let mut cut: String =
        text.chars().take(chars_max).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if text.chars().nth(chars_max).is_some() {
        cut.push('…');
    }
    cut
}

/// Why a run of a guest failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// It trapped.
    Trap,
    /// It took longer than it may.
    Deadline,
    /// It asked for more memory than it may have.
    Memory,
    /// It gave back more than it may.
    OutputLimit,
    /// What it gave back breaks the contract.
    BadOutput,
}

/// A failed run of a guest. Its instance is not used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The class; its code is what the row's error carries.
    pub(super) kind: FaultKind,
    /// What happened.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The error of the row that this fault was narrowed down to.
    pub(super) fn into_value_error(self) -> ValueError {
        let code = match self.kind {
            FaultKind::Trap => "trap",
            FaultKind::Deadline => "deadline",
            FaultKind::Memory => "memory",
            FaultKind::OutputLimit => "output-limit",
            FaultKind::BadOutput => "bad-output",
        };
        ValueError { code: code.to_owned(), message: printable(&self.message, MESSAGE_CHARS_MAX) }
    }
}

/// What a guest asked for and did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Linear memory.
    Memory,
    /// Entries of a table.
    Table,
}

/// What a store's guest has used up: memory for its life, log volume per call.
#[derive(Debug)]
pub(super) struct Usage {
    limits: PluginLimits,
    memory: usize,
    growth: usize,
    denied: Option<Denied>,
    log_lines: u32,
    log_bytes: usize,
}

impl Usage {
    pub(super) fn new(limits: &PluginLimits) -> Self {
        Self { limits: *limits, memory: 0, growth: 0, denied: None, log_lines: 0, log_bytes: 0 }
    }

    /// A new call begins.
    pub(super) fn reset_call(&mut self) {
        self.denied = None;
        self.log_lines = 0;
        self.log_bytes = 0;
    }

    /// What this was made with.
    pub(super) fn limits(&self) -> PluginLimits {
        self.limits
    }

    /// What was refused during this call, first.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    /// Whether the guest holds so much memory that a fresh instance is better.
    pub(super) fn memory_is_high(&self) -> bool {
        self.memory > self.limits.memory_bytes / 2
    }

    fn deny(&mut self, what: Denied) {
        self.denied.get_or_insert(what);
    }

    /// Whether the call has logged enough.
    pub(super) fn log_is_full(&self) -> bool {
        self.log_lines >= self.limits.log_lines || self.log_bytes >= self.limits.log_bytes
    }

    /// The text to log, or `None` where the call has logged enough. The last line that fits says so.
    pub(super) fn log_line(&mut self, message: &str) -> Option<String> {
        if self.log_is_full() {
            return None;
        }
        let mut line = printable(message, LOG_LINE_CHARS_MAX);
        self.log_lines += 1;
        self.log_bytes += line.len();
        if self.log_lines == self.limits.log_lines || self.log_bytes >= self.limits.log_bytes {
            line.push_str(" (further lines of this call are dropped)");
        }
        Some(line)
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.growth = desired.saturating_sub(current);
        let wanted = self.memory.saturating_add(self.growth);
        let fits = wanted <= self.limits.memory_bytes;
        if fits {
            self.memory = wanted;
        } else {
            self.deny(Denied::Memory);
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.growth));
        self.deny(Denied::Memory);
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.limits.table_elements;
        if !fits {
            self.deny(Denied::Table);
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        STORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        STORE_TABLES_MAX
    }

    fn memories(&self) -> usize {
        STORE_MEMORIES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_grow_with_rows_up_to_the_ceiling() {
        let limits = PluginLimits::default();
        assert_eq!(call_deadline(&limits, 1_000), Duration::from_millis(220));
        assert_eq!(call_deadline(&limits, usize::MAX), Duration::from_secs(5));
        assert_eq!(ticks(Duration::from_millis(12)), 3);
        let limits = PluginLimits { call_ms: 40, row_us: 1_000, max_call_ms: 100, ..limits };
        assert_eq!(call_deadline(&limits, 50), Duration::from_millis(90));
        assert_eq!(call_deadline(&limits, 1_000), Duration::from_millis(100));
        assert_eq!(
            (alone_deadline(&limits), load_deadline(&limits)),
            (Duration::from_millis(100), Duration::from_millis(100))
        );
    }

    #[test]
    fn codes_and_messages_of_guests_are_made_safe() {
        let error = guest_error("Invalid Phone!\u{1b}[31m", "line\nbreak");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("invalid-phone-31m", "line break"));
        let sound = guest_error("not-2-long", "as it is");
        assert_eq!((sound.code.as_str(), sound.message.as_str()), ("not-2-long", "as it is"));
        assert_eq!(guest_error("-a--b-", "").code, "a-b");
        assert_eq!(guest_error("", "").code, "error");
        assert_eq!(guest_error(&"x".repeat(1_000), "").code.len(), CODE_CHARS_MAX);
        assert_eq!(guest_error("a", &"é".repeat(10_000)).message.chars().count(), MESSAGE_CHARS_MAX + 1);
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut usage = Usage::new(&PluginLimits { memory_bytes: 100, ..PluginLimits::default() });
        assert!(usage.memory_growing(0, 60, None).unwrap());
        assert!(!usage.memory_growing(0, 60, None).unwrap());
        assert!(usage.denied() == Some(Denied::Memory) && usage.memory_is_high());
        usage.reset_call();
        assert!(usage.memory_growing(60, 100, None).unwrap());
    }

    #[test]
    fn logging_ends_at_the_cap() {
        let mut usage = Usage::new(&PluginLimits::default());
        let lines = (0..1_000).filter_map(|_| usage.log_line("x")).count();
        assert_eq!(lines, 20);
        usage.reset_call();
        assert!(usage.log_line(&"y".repeat(100_000)).unwrap().len() < 2_000);
        let lines = |log_lines, log_bytes| {
            let mut usage = Usage::new(&PluginLimits { log_lines, log_bytes, ..PluginLimits::default() });
            (0..1_000).filter_map(|_| usage.log_line("ten bytes!")).count()
        };
        assert_eq!((lines(3, 8 << 10), lines(20, 45), lines(0, 45)), (3, 5, 0));
    }
}
