//! Tests against real servers, which `tests/run` starts. They fail loudly where a server is missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::string_slice,
    missing_docs,
    reason = "a test that panics is a test that fails; servers are named by the environment"
)]

mod postgres;
mod postgres_create;
mod postgres_describe;
mod postgres_errors;
mod postgres_load;
mod postgres_polling;
mod postgres_rates;
mod postgres_tracking;
mod postgres_values;
mod postgres_write;
