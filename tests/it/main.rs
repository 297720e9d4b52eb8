//! The hermetic tests: no server, no network. One file per behaviour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says with a panic that something is not as it should be"
)]

mod config;
