//! Write a tidelock plugin as a closure.
//!
//! ```ignore
//! use tidelock_plugin::{function, plugin};
//!
//! plugin! {
//!     function("initials", "The first letter of every word.")
//!         .example("Ada King Lovelace", "AKL")
//!         .map(|name| name.split_whitespace().filter_map(|word| word.chars().next()).collect())
//! }
//! ```
//!
//! A [`function`] is declared (documentation, parameters, examples, laws) and then given its closure; which method takes the closure
//! decides its role: see [`Declaration`]. [`plugin!`] exports any number of functions. Values cross a column at a time,
//! which is several times faster than one by one. What the SDK takes care of: offsets, UTF-8 and bitmaps are checked, null and absent are kept
//! apart, a failed value is null in the output and named in the errors, parameters are parsed and checked once. The macro
//! also writes a test, so `cargo test` runs every example.

#[cfg(any(target_arch = "wasm32", test))]
mod allocator;
mod batch;
pub mod bindings;
pub mod calendar;
mod column;
mod conflict_resolver;
mod declare;
mod failure;
mod field_transform;
mod kind;
mod params;
mod plugin;
mod record_transform;
mod steps;
pub mod testing;
mod text;
mod validator;
mod value;

#[cfg(target_arch = "wasm32")]
pub use allocator::Allocator;
pub use batch::{Fields, Record};
pub use conflict_resolver::{Choice, Conflict, ContestedField};
pub use declare::{Declaration, function};
pub use failure::Failure;
pub use kind::Kind;
pub use params::{Param, ParamError, Params};
pub use plugin::{Component, Function, Plugin, Role};
pub use steps::steps;
pub use text::Text;
pub use validator::Violations;
pub use value::Value;

/// Writes a line to the host's log. The host limits how often and how much.
pub fn log(level: Level, message: &str) {
    bindings::meta::tidelock::plugin::log::write(level as u8, message);
}

/// How much a line of [`log()`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Every step.
    Trace = 0,
    /// For the plugin's author.
    Debug = 1,
    /// For the operator.
    Info = 2,
    /// Something that should not be so.
    Warn = 3,
    /// Something that failed.
    Error = 4,
}

/// Makes this crate a plugin of the given [`Function`]s.
///
/// Functions of other roles than field transforms need the roles named first: `plugin! { roles: [validator]; function(…)… }`, of
/// `field_transform`, `record_transform`, `validator` and `conflict_resolver`; a plugin exports what it names. Its name, version and licence are
/// those of the crate. Also writes a test that runs every example.
#[macro_export]
macro_rules! plugin {
    (roles: [$($role:ident),+ $(,)?]; $($function:expr),+ $(,)?) => {
        #[doc(hidden)]
        pub struct TidelockPlugin;
        impl $crate::Plugin for TidelockPlugin {
            const NAME: &'static str = env!("CARGO_PKG_NAME");
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
            const ROLES: &'static [$crate::Role] = &[$($crate::role!($role)),+];
            fn functions() -> Vec<$crate::Function> {
                vec![$($function),+]
            }
        }
        $crate::export_plugin! { TidelockPlugin: [$($role),+] }
        #[cfg(test)]
        #[test]
        fn examples_hold() {
            $crate::testing::assert_examples::<TidelockPlugin>();
        }
    };
    ($($function:expr),+ $(,)?) => {
        $crate::plugin! { roles: [field_transform]; $($function),+ }
    };
}

/// Exports a [`Plugin`] that was written out by hand, with the interfaces of these roles: what [`plugin!`] does, without the test. Also
/// gives the component an allocator for many small texts.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident: [$($role:ident),+ $(,)?]) => {
        // The exported symbols' names mean nothing outside a component.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, reason = "generated glue")]
        mod tidelock_exports {
            #[global_allocator]
            static ALLOCATOR: $crate::Allocator = $crate::Allocator::new();
            type Exports = $crate::Component<super::$plugin>;
            $crate::bindings::meta::export_meta!(Exports with_types_in $crate::bindings::meta);
            $($crate::export_role!($role Exports);)+
        }
    };
}

/// The [`Role`] of a name in [`plugin!`].
#[doc(hidden)]
#[macro_export]
macro_rules! role {
    (field_transform) => {
        $crate::Role::FieldTransform
    };
    (record_transform) => {
        $crate::Role::RecordTransform
    };
    (validator) => {
        $crate::Role::Validator
    };
    (conflict_resolver) => {
        $crate::Role::ConflictResolver
    };
}

/// The exports of a role named in [`plugin!`].
#[doc(hidden)]
#[macro_export]
macro_rules! export_role {
    (field_transform $exports:ident) => {
        $crate::bindings::transforms::export_field_transform!($exports with_types_in $crate::bindings::transforms);
    };
    (record_transform $exports:ident) => {
        $crate::bindings::records::export_record_transform!($exports with_types_in $crate::bindings::records);
    };
    (validator $exports:ident) => {
        $crate::bindings::validates::export_validator!($exports with_types_in $crate::bindings::validates);
    };
    (conflict_resolver $exports:ident) => {
        $crate::bindings::resolves::export_conflict_resolver!($exports with_types_in $crate::bindings::resolves);
    };
}
