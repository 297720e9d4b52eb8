//! The program: everything is in the library.

use std::process::ExitCode;

/// See docs/decisions/0011-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the crate does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    give_back_soon();
    tidelock::cli::main()
}

/// Memory that is free goes back to the system after 100 ms and not after a second, where `MIMALLOC_PURGE_DELAY` says nothing else: a load would
/// hold a sixth more.
#[expect(unsafe_code, reason = "the crate has no safe function for it")]
fn give_back_soon() {
    // SAFETY: it stores a number in a table of mimalloc's own, at a place that is in it.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 100) }
}
