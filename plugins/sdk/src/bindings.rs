//! What wit-bindgen makes of `wit/plugin.wit`: generated, for the macros and for plugins that want more than the SDK offers.
//!
//! One module per exported interface, in worlds of their own: a component is what its exports add up to, so `meta` and the
//! roles that a plugin plays make exactly the world that it needs. All of them share the types of `transforms`.
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

/// `field-transform`, and the types.
pub mod transforms {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world transforms-fields { export tidelock:plugin/field-transform@0.1.0; }",
        world: "tidelock:sdk/transforms-fields",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_field_transform",
    });
}

/// `record-transform`.
pub mod records {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world transforms-records { export tidelock:plugin/record-transform@0.1.0; }",
        world: "tidelock:sdk/transforms-records",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_record_transform",
        with: { "tidelock:plugin/types@0.1.0": crate::bindings::transforms::tidelock::plugin::types },
    });
}

/// `validator`.
pub mod validates {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world validates { export tidelock:plugin/validator@0.1.0; }",
        world: "tidelock:sdk/validates",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_validator",
        with: { "tidelock:plugin/types@0.1.0": crate::bindings::transforms::tidelock::plugin::types },
    });
}

/// `conflict-resolver`.
pub mod resolves {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package tidelock:sdk; world resolves { export tidelock:plugin/conflict-resolver@0.1.0; }",
        world: "tidelock:sdk/resolves",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_conflict_resolver",
        with: { "tidelock:plugin/types@0.1.0": crate::bindings::transforms::tidelock::plugin::types },
    });
}
