//! From a core module, as C compilers make them, to a component.

use wit_component::ComponentEncoder;

use super::failed;
use crate::plugin::PluginError;

/// What every core module begins with.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The component of what a toolchain made. What already is one stays as it is.
///
/// # Errors
/// `plugin.build_failed`: the module has no bindings of a world, or imports what no plugin has.
pub(super) fn of(bytes: Vec<u8>) -> Result<Vec<u8>, PluginError> {
    if !bytes.starts_with(MODULE) {
        return Ok(bytes);
    }
    let encoded = ComponentEncoder::default().validate(true).module(&bytes).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| {
        failed(format!(
            "the module cannot become a component: {error:#} (a plugin has no system below it: no files, no `printf`)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_stay_and_modules_without_a_world_are_refused() {
        let component = b"\0asm\x0d\0\x01\0".to_vec();
        assert_eq!(of(component.clone()).unwrap(), component);
        assert_eq!(of(b"\0asm\x01\0\0\0\xff".to_vec()).unwrap_err().code, "plugin.build_failed");
    }
}
