//! The hermetic tests: no server, no network. One binary; a file's name says the behaviour.
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

mod architecture;
mod bad_input;
mod config;
mod demo;
mod error_codes;
mod examples;
mod hot_reload;
mod phone_numbers;
mod plugin;
mod plugin_limits;
mod plugin_loading;
mod plugin_roles;
mod rollback;
mod salesforce_contract;
mod sandbox;
mod sqlite;
mod sqlite_files;
mod sqlite_tables;
mod sqlite_tracking;
mod standard_plugins;
mod state_versions;
mod sync;
mod waiting;
