//! Lists the files that `tidelock plugin new` writes (the examples, the SDK, the contract), to be embedded in the program.

use std::fmt::Write;
use std::io::{Error, Result};
use std::path::Path;

const FOLDERS: [&str; 3] = ["examples/plugins", "plugins/sdk", "wit"];
/// What building a project in its place leaves behind.
const BUILT: [&str; 6] = ["target", "node_modules", "__pycache__", ".venv", "Cargo.lock", "package-lock.json"];

fn main() -> Result<()> {
    let mut list = String::from("&[\n");
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        add(Path::new(folder), &mut list)?;
    }
    list.push(']');
    #[allow(clippy::disallowed_methods, reason = "cargo tells a build script its folder this way only")]
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| Error::other("cargo sets OUT_DIR"))?;
    std::fs::write(Path::new(&out).join("project_files.rs"), list)
}

/// Adds the files below a folder, in the order of their names.
fn add(folder: &Path, list: &mut String) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if BUILT.contains(&name.as_str()) || name.ends_with(".wasm") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            add(&path, list)?;
        } else {
            let absolute = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
            writeln!(list, "({path:?}, include_bytes!({absolute:?})),").map_err(Error::other)?;
        }
    }
    Ok(())
}
