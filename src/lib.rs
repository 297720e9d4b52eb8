//! tidelock keeps records in step between systems, in real time, one way or both ways.
//!
//! The way of a record, and where each step lives:
//! [`connector`] captures a change → [`pipeline`] coalesces, maps and transforms (through [`plugin`]), reconciles both images with
//! the link's base from [`state`], and has the [`connector`] write under a guard → one commit to [`state`] → the source is
//! acknowledged. [`runtime`] runs one worker per pair; [`cli`] and [`http`] are how people and programs see it.

pub mod error;
pub mod record;
pub mod value;

pub mod change;
pub mod telemetry;

pub mod config;

pub mod connector;
pub mod plugin;
pub mod state;

pub mod pipeline;
pub mod runtime;

pub mod cli;
pub mod http;
pub mod sandbox;

#[cfg(test)]
mod simulation;
