//! Write a tidelock plugin as a closure over text.
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
//! A [`function`] is declared (documentation, parameters, examples, laws) and then given its closure. [`plugin!`] exports any
//! number of them as the columnar interface `field-transform`: values cross a column at a time, which is several times
//! faster than one by one. What the SDK takes care of: offsets, UTF-8 and bitmaps are checked, null stays null, a failed
//! value is null in the output and named in the errors, parameters are parsed and checked once. [`simple_plugin!`] exports
//! the easy interface instead, for values that are not text. Both also write a test, so `cargo test` runs every example.

pub mod bindings;
mod column;
mod component;
mod declare;
mod params;
mod simple;
pub mod testing;

pub use column::Failure;
pub use component::{Apply, Component, Function, Plugin, open};
pub use declare::{Declaration, function};
pub use params::{Param, ParamError, Params};
pub use simple::{SimpleComponent, SimpleFunction, SimplePlugin};

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
/// The plugin's name, version and licence are those of the crate. Also writes a test that runs every example.
#[macro_export]
macro_rules! plugin {
    ($($function:expr),+ $(,)?) => {
        #[doc(hidden)]
        pub struct TidelockPlugin;
        impl $crate::Plugin for TidelockPlugin {
            const NAME: &'static str = env!("CARGO_PKG_NAME");
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
            fn functions() -> Vec<$crate::Function> {
                vec![$($function),+]
            }
        }
        // The exported symbols' names mean nothing outside a component.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, reason = "generated glue")]
        mod tidelock_exports {
            type Exports = $crate::Component<super::TidelockPlugin>;
            $crate::bindings::meta::export_meta!(Exports with_types_in $crate::bindings::meta);
            $crate::bindings::columnar::export_columnar!(Exports with_types_in $crate::bindings::columnar);
        }
        #[cfg(test)]
        #[test]
        fn examples_hold() {
            $crate::testing::assert_examples::<TidelockPlugin>();
        }
    };
}

/// Makes this crate a plugin of the given [`SimpleFunction`]s: the easy interface, one text per value of any kind.
#[macro_export]
macro_rules! simple_plugin {
    ($($function:expr),+ $(,)?) => {
        #[doc(hidden)]
        pub struct TidelockPlugin;
        impl $crate::SimplePlugin for TidelockPlugin {
            const NAME: &'static str = env!("CARGO_PKG_NAME");
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
            fn functions() -> Vec<$crate::SimpleFunction> {
                vec![$($function),+]
            }
        }
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, missing_docs, reason = "generated glue")]
        mod tidelock_exports {
            type Exports = $crate::SimpleComponent<super::TidelockPlugin>;
            $crate::bindings::meta::export_meta!(Exports with_types_in $crate::bindings::meta);
            $crate::bindings::simple::export_simple!(Exports with_types_in $crate::bindings::simple);
        }
        #[cfg(test)]
        #[test]
        fn examples_hold() {
            $crate::testing::assert_simple_examples::<TidelockPlugin>();
        }
    };
}
