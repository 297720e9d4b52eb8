//! The compact binary form of values.
