//! The outer form of a WebAssembly file, looked at before anything is spent on it: clear words for the usual mistakes.

use super::PluginError;

const MAGIC: &[u8] = b"\0asm";
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const PREAMBLE_BYTES: usize = 8;

/// Code of a file that ends too early: it may still be being written.
pub(super) const TRUNCATED: &str = "plugin.truncated";

/// Checks that the bytes are a component whose sections end where the file ends. What is inside them is the compiler's to check.
///
/// # Errors
/// `plugin.not_wasm`, `plugin.not_component`, `plugin.truncated`.
pub(super) fn check(bytes: &[u8]) -> Result<(), PluginError> {
    if !bytes.starts_with(MAGIC) {
        if MAGIC.starts_with(bytes) {
            return Err(truncated(bytes.len()));
        }
        let hint = if bytes.trim_ascii_start().starts_with(b"(") {
            ": it looks like the text format; compile it first"
        } else {
            ""
        };
        return Err(PluginError::new("plugin.not_wasm", format!("it is not a WebAssembly file{hint}")));
    }
    let Some((preamble, sections)) = bytes.split_at_checked(PREAMBLE_BYTES) else {
        return Err(truncated(bytes.len()));
    };
    if preamble.ends_with(&CORE_MODULE) {
        let message = "it is a core module, not a component: link it with `wasm-component-ld`, or wrap it with `wasm-tools component new`";
        return Err(PluginError::new("plugin.not_component", message));
    }
    if !preamble.ends_with(&COMPONENT) {
        let message = "it is neither a component nor a core module of a version that is known here";
        return Err(PluginError::new("plugin.not_component", message));
    }
    let mut rest = sections;
    while let Some((_id, after)) = rest.split_first() {
        let section = size(after).and_then(|(size, body)| body.get(size..));
        rest = section.ok_or_else(|| truncated(bytes.len()))?;
    }
    Ok(())
}

fn truncated(length: usize) -> PluginError {
    PluginError::new(
        TRUNCATED,
        format!("it ends in the middle of a section, after {length} bytes: the file is not complete"),
    )
}

/// A LEB128 `u32` and what follows it.
fn size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_its_own_code() {
        let component = |sections: &[u8]| [MAGIC, &COMPONENT, sections].concat();
        for (bytes, code) in [
            (vec![], "plugin.truncated"),
            (b"\0as".to_vec(), "plugin.truncated"),
            (b"\0asm\x0d".to_vec(), "plugin.truncated"),
            (component(&[0, 5, 1]), "plugin.truncated"),
            (component(&[0]), "plugin.truncated"),
            (component(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "plugin.truncated"),
            (b"hello".to_vec(), "plugin.not_wasm"),
            (b"(component)".to_vec(), "plugin.not_wasm"),
            (b"\0asm\x01\0\0\0".to_vec(), "plugin.not_component"),
            (b"\0asm\x09\0\x01\0".to_vec(), "plugin.not_component"),
        ] {
            assert_eq!(check(&bytes).unwrap_err().code, code, "{bytes:?}");
        }
        assert!(check(&component(&[])).is_ok());
        assert!(check(&component(&[0, 1, 9, 1, 0x80, 1].iter().copied().chain([0; 128]).collect::<Vec<_>>())).is_ok());
    }
}
