//! The standard plugins, embedded in the program. They are ordinary components, loaded like any other; a file of the same name in
//! the plugin folder replaces one.

/// Stem and bytes of each.
pub(super) const STANDARD: &[(&str, &[u8])] = &[
    ("format_phone", include_bytes!("../../plugins/built/format_phone.wasm")),
    ("trim", include_bytes!("../../plugins/built/trim.wasm")),
    ("title_case", include_bytes!("../../plugins/built/title_case.wasm")),
    ("lowercase", include_bytes!("../../plugins/built/lowercase.wasm")),
    ("uppercase", include_bytes!("../../plugins/built/uppercase.wasm")),
];

/// The bytes of a standard plugin.
pub(super) fn standard(stem: &str) -> Option<&'static [u8]> {
    STANDARD.iter().find(|(name, _)| *name == stem).map(|(_, bytes)| *bytes)
}
