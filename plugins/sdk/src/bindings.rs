//! What wit-bindgen makes of `wit/plugin.wit`: generated, for the macros and for plugins that want more than the SDK offers.
//!
//! One module per exported interface, in worlds of their own: a component is what its exports add up to, so `meta` and one
//! of the others make exactly the world that the WIT names.
#![allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]

/// `meta`, and the import `log`.
pub mod meta {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world describes { import tidelock:plugin/log@0.1.0; export tidelock:plugin/meta@0.1.0; }",
        world: "tidelock:sdk/describes",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_meta",
    });
}

/// `field-transform`: a column at a time.
pub mod columnar {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world transforms-columns { export tidelock:plugin/field-transform@0.1.0; }",
        world: "tidelock:sdk/transforms-columns",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_columnar",
    });
}

/// `simple-transform`: a list of texts at a time. Its types are those of `columnar`.
pub mod simple {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world transforms-values { export tidelock:plugin/simple-transform@0.1.0; }",
        world: "tidelock:sdk/transforms-values",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_simple",
        with: { "tidelock:plugin/types@0.1.0": crate::bindings::columnar::tidelock::plugin::types },
    });
}
