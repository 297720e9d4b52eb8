//! Hermetic tests: no server, no network, no sleep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests say so with a panic")]
#![allow(missing_docs, unreachable_pub, reason = "a test binary has no readers of its interface")]

#[macro_use]
#[path = "../contract/mod.rs"]
mod contract;

mod sqlite;
