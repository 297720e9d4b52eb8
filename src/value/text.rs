//! Text and JSON forms of values.
