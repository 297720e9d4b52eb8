//! The program that is measured, as users run it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::systems::Systems;

const STATE: [&str; 3] = ["tidelock.db", "tidelock.db-wal", "tidelock.db-shm"];

/// What one run cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    pub(crate) peak_kb: u64,
    /// Size of the state file.
    pub(crate) state_bytes: u64,
}

/// A pair of these systems with a transform on.
pub(crate) fn config(systems: &Systems, [source, target]: [&str; 2], sync_type: &str, parallelism: u32) -> Value {
    let plain =
        ["id", "email", "phone", "city", "balance", "updated_at"].map(|name| json!({"source": name, "target": name}));
    let mut mappings = plain.to_vec();
    mappings.push(json!({"source": "name", "target": "name", "transformation": "title_case"}));
    json!({"connection_name": "bench", "source": systems.endpoint(source, true), "target": systems.endpoint(target, false),
           "sync_type": sync_type, "field_mappings": mappings, "performance_settings": {"parallelism": parallelism}})
}

/// A pair of both PostgreSQL databases that finds its changes in this way.
pub(crate) fn following(systems: &Systems, sync_type: &str, change_detection: &str) -> Value {
    let mut config = config(systems, ["postgres"; 2], sync_type, 1);
    config["performance_settings"]["change_detection"] = change_detection.into();
    config
}

/// Forgets earlier runs.
pub(crate) fn forget(folder: &Path) {
    for file in STATE {
        let _gone = std::fs::remove_file(folder.join(file));
    }
}

pub(crate) fn configure(folder: &Path, config: &Value) {
    std::fs::write(folder.join("sync.json"), config.to_string()).unwrap();
}

pub(crate) fn spawn(folder: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tidelock"))
        .current_dir(folder)
        .args(args)
        .args(["--log", "error"])
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs until nothing is left to do; `written` records must have reached the target.
pub(crate) fn once(folder: &Path, written: u32) -> Cost {
    let (cost, summary) = watch(spawn(folder, &["run", "sync.json", "--once", "--json"]), folder);
    assert_eq!(summary["written_target"], written, "{summary}");
    cost
}

/// Ends a service as its supervisor would.
pub(crate) fn stop(mut service: Child) {
    let stopped = Command::new("kill").arg(service.id().to_string()).status().unwrap();
    assert!(stopped.success() && service.wait().unwrap().success(), "the service ends when it is told to");
}

/// Waits for a command's end; its cost, and what it printed.
pub(crate) fn watch(mut child: Child, folder: &Path) -> (Cost, Value) {
    let began = Instant::now();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak_kb = peak_kb.max(mark.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = began.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    let size = |file: &&str| std::fs::metadata(folder.join(file)).map_or(0, |metadata| metadata.len());
    let state_bytes = STATE.iter().map(size).sum();
    (Cost { seconds, peak_kb, state_bytes }, serde_json::from_slice(&output.stdout).unwrap())
}
