//! The tests against real servers. `tests/run` starts private ones; where one is missing these tests fail, they are never skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::let_underscore_must_use,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::uninlined_format_args,
    clippy::bool_assert_comparison,
    clippy::collapsible_if,
    unreachable_pub,
    missing_docs,
    dead_code,
    reason = "tests fail by panicking, and share what not every binary uses"
)]

#[path = "../contract/mod.rs"]
mod contract;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../scenarios/mod.rs"]
mod scenarios;

mod bad_input;
mod cluster;
mod connections;
mod faults;
mod looking;
mod mysql;
mod mysql_binlog;
mod mysql_binlog_server;
mod mysql_contract;
mod mysql_failover;
mod mysql_forms;
mod mysql_server;
mod postgres;
mod postgres_contract;
mod postgres_create;
mod postgres_describe;
mod postgres_errors;
mod postgres_load;
mod postgres_logical;
mod postgres_logical_images;
mod postgres_logical_keys;
mod postgres_logical_network;
mod postgres_polling;
mod postgres_ranges;
mod postgres_tracking;
mod postgres_values;
mod postgres_write;
mod refusals;
mod salesforce;
mod schemas;
mod sync;
mod types;
