//! C: clang with a library for WASI, or zig, which brings one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Project, failed, missing, tool};
use crate::config::environment;
use crate::plugin::PluginError;

/// Folders whose sources and objects belong to the plugin.
const FOLDERS: [&str; 2] = ["", "bindings"];
/// Newer releases call it wasm32-wasip1, but the libraries of Debian and Ubuntu are under this name.
const TARGET: &str = "wasm32-wasi";

/// A C compiler, with what it needs to make modules for WASI.
struct Compiler {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// Compiles every source; the core module.
pub(super) async fn build(project: &Project, release: bool, work: &Path) -> Result<PathBuf, PluginError> {
    let sources = sources(&project.dir)?;
    let module = work.join("module.wasm");
    let compiler = find().await?;
    let mut command = Command::new(compiler.program);
    command.current_dir(&project.dir).args(compiler.arguments).args(["-mexec-model=reactor", "-Wall", "-Wextra"]);
    command.args(if release { &["-O2", "-s"][..] } else { &["-O1"] });
    command.args(sources).arg("-o").arg(&module);
    tool::run(&mut command, true).await?;
    Ok(module)
}

/// The `.c` and `.o` files, in the order of their names.
fn sources(dir: &Path) -> Result<Vec<PathBuf>, PluginError> {
    let mut sources = Vec::new();
    for folder in FOLDERS.map(|folder| dir.join(folder)).iter().filter(|folder| folder.is_dir()) {
        let entries = std::fs::read_dir(folder).map_err(|error| failed(format!("`{}`: {error}", folder.display())))?;
        let files = entries.filter_map(Result::ok).map(|entry| entry.path());
        sources.extend(files.filter(|file| file.extension().is_some_and(|kind| kind == "c" || kind == "o")));
    }
    sources.sort();
    if sources.is_empty() {
        return Err(failed(format!("there is no `.c` file in `{}`", dir.display())));
    }
    Ok(sources)
}

/// The WASI SDK, zig, or clang with the system's library, in this order: the first two are complete in themselves.
async fn find() -> Result<Compiler, PluginError> {
    let target = || OsString::from(format!("--target={TARGET}"));
    if let Some(sdk) = environment("WASI_SDK_PATH") {
        let program = Path::new(&sdk).join("bin/clang");
        return Ok(Compiler { program, arguments: vec![target(), "-Wno-deprecated".into()] });
    }
    let zig = |before: &[&str]| {
        let arguments = before.iter().chain(&["cc", "-target", TARGET]).map(OsString::from).collect();
        move |program| Compiler { program, arguments }
    };
    if let Some(zig) = tool::on_path("zig").map(zig(&[])) {
        return Ok(zig);
    }
    if let (Some(clang), Some(sysroot)) = (tool::on_path("clang"), sysroot()) {
        let sysroot = OsString::from(format!("--sysroot={}", sysroot.display()));
        return Ok(Compiler { program: clang, arguments: vec![target(), sysroot, "-Wno-deprecated".into()] });
    }
    if let Some(python) = tool::on_path("python3") {
        let mut question = Command::new(&python);
        question.args(["-c", "import importlib.util as u, sys; sys.exit(u.find_spec('ziglang') is None)"]);
        if tool::run(&mut question, false).await.is_ok() {
            return Ok(zig(&["-m", "ziglang"])(python));
        }
    }
    Err(missing(
        "there is no C compiler for WebAssembly",
        "Debian, Ubuntu: apt install clang lld wasi-libc libclang-rt-dev-wasm32; elsewhere: pip install ziglang, or the WASI SDK \
         and WASI_SDK_PATH",
    ))
}

/// Where the system has its C library for WASI.
fn sysroot() -> Option<PathBuf> {
    let named = environment("WASI_SYSROOT").map(PathBuf::from);
    named.or_else(|| ["/usr", "/usr/share/wasi-sysroot"].iter().map(PathBuf::from).find(|root| has_library(root)))
}

fn has_library(root: &Path) -> bool {
    root.join("lib").join(TARGET).join("libc.a").is_file()
}
