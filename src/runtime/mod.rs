//! Runs pairs (layer 7): opens them, loads them, follows their changes, waits and retries, and stops cleanly (I11).

pub mod audit;
pub mod backoff;
pub mod change_detection;
pub mod create_target;
pub mod explain;
pub mod index_recommendation;
pub mod open;
pub mod plan;
pub mod read_only;
pub mod rehearsal;
pub mod repair;
pub mod resync;
pub mod reviews;
pub mod status;
pub mod supervisor;
pub mod worker;

mod absent;
mod following;
mod load;
mod schema_drift;
