//! Names that must only be unlike others.

use crate::telemetry::clock;

/// A name that nobody else has.
pub(super) fn fresh() -> String {
    uuid::Uuid::from_bytes(random_bytes()).simple().to_string()
}

/// Randomness of the standard library's hasher keys: enough for a name that must only be unlike others.
fn random_bytes() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(clock::now_micros()).to_be_bytes();
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&half());
    second.copy_from_slice(&half());
    bytes
}
