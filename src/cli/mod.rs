//! The command line (layer 8).

pub mod check;
pub mod schema;
