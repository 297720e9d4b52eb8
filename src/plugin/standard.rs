//! The standard plugins, embedded in the program. They are ordinary components, loaded like any other; a file of the same name in
//! the plugin folder replaces one.

/// Stem and bytes of each.
pub(super) const STANDARD: &[(&str, &[u8])] = &[
    ("format_phone", include_bytes!("../../plugins/built/format_phone.wasm")),
    ("email", include_bytes!("../../plugins/built/email.wasm")),
    ("parse_number", include_bytes!("../../plugins/built/parse_number.wasm")),
    ("iso8601", include_bytes!("../../plugins/built/iso8601.wasm")),
    ("trim", include_bytes!("../../plugins/built/trim.wasm")),
    ("title_case", include_bytes!("../../plugins/built/title_case.wasm")),
    ("lowercase", include_bytes!("../../plugins/built/lowercase.wasm")),
    ("uppercase", include_bytes!("../../plugins/built/uppercase.wasm")),
    ("text", include_bytes!("../../plugins/built/text.wasm")),
    ("names", include_bytes!("../../plugins/built/names.wasm")),
    ("merge", include_bytes!("../../plugins/built/merge.wasm")),
];

/// The bytes of a standard plugin.
pub(super) fn standard(stem: &str) -> Option<&'static [u8]> {
    STANDARD.iter().find(|(name, _)| *name == stem).map(|(_, bytes)| *bytes)
}
