//! Logs and the clock (layer 1).

pub mod clock;
