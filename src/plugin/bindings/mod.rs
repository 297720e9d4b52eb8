//! What a component exports and imports, checked against the contract, and one object per version of the contract.
//!
//! A released version stays here for good: a new one is a module beside `v0_1` and a variant of [`Exports`], and converts to the
//! newest types at its edge.

mod v0_1;

#[cfg(test)]
pub(super) use v0_1::FieldChoice;
pub(super) use v0_1::{
    Batch, BatchOutcome, BatchResolution, Bound, CallError, Column, Conflicts, ContestedField, Context, Example, Form,
    FunctionInfo, NamedColumn, Opener, PluginInfo, RowError, RowViolation, Side, SimpleAnswer, SimpleViolation,
};

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::{Component, Instance, Linker};

use super::PluginError;
use super::instance::Guest;
use crate::config::PluginSettings;

const PACKAGE: &str = "tidelock:plugin/";
const VERSION: &str = "0.1";
const WITHOUT_WASI: &str = "build it for wasm32-unknown-unknown, or stub WASI out when you make the component (JavaScript: \
                            `--disable all`, Python: `--stub-wasi`)";

/// What a function does; which interfaces a plugin exports says which roles it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One field to one field.
    FieldTransform,
    /// Whole records.
    RecordTransform,
    /// Checks records.
    Validator,
    /// Settles conflicts.
    ConflictResolver,
}

/// Interfaces of each role: columnar, simple (empty: it has none). Where a plugin has both, the columnar one is used.
const ROLES: [(Role, &str, &str); 4] = [
    (Role::FieldTransform, "field-transform", "simple-transform"),
    (Role::RecordTransform, "record-transform", ""),
    (Role::Validator, "validator", "simple-validator"),
    (Role::ConflictResolver, "conflict-resolver", "simple-resolver"),
];

impl Role {
    /// The name in `function-info`.
    pub(super) fn name(self) -> &'static str {
        ROLES.iter().find(|(role, ..)| *role == self).map_or("", |(_, name, _)| name)
    }

    /// The role of a name in `function-info`.
    pub(super) fn named(name: &str) -> Option<Self> {
        ROLES.iter().find(|(_, known, _)| *known == name).map(|(role, ..)| *role)
    }
}

/// The exports of one component that the host calls, by version of the contract.
#[derive(Clone)]
pub(super) enum Exports {
    /// `tidelock:plugin@0.1.x`.
    V0_1(v0_1::Exports),
}

impl Exports {
    /// Checks imports and exports, and finds what the host will call. `grants`: what plugin `stem` may import of WASI.
    ///
    /// # Errors
    /// Names what is missing, too much or of another version, and what to do about it.
    pub(super) fn find(component: &Component, stem: &str, grants: &[String]) -> Result<Self, PluginError> {
        let ty = component.component_type();
        let engine = component.engine();
        let imports: Vec<&str> = ty.imports(engine).map(|(name, _)| name).collect();
        check_imports(&imports, stem, grants)?;
        let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        let meta = exported(&names, "meta")?.ok_or_else(|| missing(&names, "meta"))?;
        let mut roles = Vec::new();
        for (role, columnar, simple) in ROLES {
            let simple = if simple.is_empty() { None } else { exported(&names, simple)? };
            roles.push((role, exported(&names, columnar)?, simple));
        }
        if roles.iter().all(|(_, columnar, simple)| columnar.is_none() && simple.is_none()) {
            return Err(missing(&names, "field-transform or another role"));
        }
        v0_1::Exports::find(component, meta, &roles).map(Self::V0_1)
    }

    /// Whether functions of this role can be called.
    pub(super) fn has(&self, role: Role) -> bool {
        match self {
            Self::V0_1(exports) => exports.has(role),
        }
    }

    /// Types the functions of an instance.
    ///
    /// # Errors
    /// Where a function has other parameters or results than the contract.
    pub(super) fn bind(&self, store: &mut wasmtime::Store<Guest>, instance: &Instance) -> Result<Bound, PluginError> {
        match self {
            Self::V0_1(exports) => exports.bind(store, instance),
        }
    }
}

/// The linker of plugins that were granted something of WASI.
///
/// # Errors
/// Never in practice: the names are fixed.
pub(super) fn linker_with_wasi(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = linker(engine)?;
    super::wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// The linker of every other plugin: nothing but `log`. `types` has no functions, so nothing has to be given for it.
///
/// # Errors
/// Never in practice: the names are ours.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    v0_1::add_log(&mut linker)?;
    Ok(linker)
}

fn check_imports(names: &[&str], stem: &str, grants: &[String]) -> Result<(), PluginError> {
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    let mut ungranted = Vec::new();
    for name in names {
        let interface = name.split_once('@').map_or(*name, |(interface, _)| interface);
        let package = interface.split_once('/').map_or(interface, |(package, _)| package);
        if !PluginSettings::is_grantable(interface) {
            check_import(name)?;
        } else if !grants.iter().any(|grant| grant == interface || grant == package) {
            missing.insert(package);
            ungranted.push(*name);
        }
    }
    let Some(first) = ungranted.first() else { return Ok(()) };
    let more = if ungranted.len() > 1 { format!(" and {} more of WASI", ungranted.len() - 1) } else { String::new() };
    let packages: Vec<String> = missing.iter().map(|package| format!("\"{package}\"")).collect();
    let message = format!(
        "it imports `{first}`{more}, which a plugin gets only by a grant: \"plugins\": {{\"grants\": {{\"{stem}\": [{}]}}}}; or {WITHOUT_WASI}",
        packages.join(", ")
    );
    Err(PluginError::new("plugin.forbidden_import", message))
}

fn check_import(name: &str) -> Result<(), PluginError> {
    let refuse = |advice: &str| {
        Err(PluginError::new(
            "plugin.forbidden_import",
            format!("it imports `{name}`, which plugins do not get; {advice}"),
        ))
    };
    let Some(rest) = name.strip_prefix(PACKAGE) else {
        return refuse(if name.starts_with("wasi:") {
            WITHOUT_WASI
        } else {
            "a plugin may import `tidelock:plugin/log` only"
        });
    };
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    check_version(name, version)?;
    match interface {
        "types" | "log" => Ok(()),
        _ => refuse("a plugin may import `tidelock:plugin/log` only"),
    }
}

/// The full name of an export of our package, where it is there and of a version that we speak.
fn exported<'a>(names: &[&'a str], interface: &str) -> Result<Option<&'a str>, PluginError> {
    let ours = |name: &str| name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix(interface)).map(str::to_owned);
    let mut found = None;
    for name in names {
        match ours(name).as_deref().map(|rest| rest.strip_prefix('@')) {
            None => {}
            Some(Some(version)) => match check_version(name, version) {
                Ok(()) => return Ok(Some(name)),
                Err(error) => found = Some(error),
            },
            // `meta` is also the beginning of other names; without any version it is not ours.
            Some(None) => {}
        }
    }
    found.map_or(Ok(None), Err)
}

fn check_version(name: &str, version: &str) -> Result<(), PluginError> {
    let series = version.strip_prefix(VERSION);
    if series.is_some_and(|patch| patch.is_empty() || patch.starts_with('.')) {
        return Ok(());
    }
    let message = format!(
        "`{name}` is of another version of the contract; this tidelock speaks {PACKAGE}*@{VERSION}.x: rebuild it"
    );
    Err(PluginError::new("plugin.contract_version", message))
}

fn missing(names: &[&str], what: &str) -> PluginError {
    let shown: Vec<&str> = names.iter().copied().take(8).collect();
    let has =
        if shown.is_empty() { "it exports nothing".to_owned() } else { format!("it exports {}", shown.join(", ")) };
    let message = format!("it does not export `{PACKAGE}{what}` ({has}); see wit/plugin.wit for what a plugin exports");
    PluginError::new("plugin.missing_export", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_and_log_of_our_version_may_be_imported() {
        assert!(check_import("tidelock:plugin/types@0.1.0").is_ok());
        assert!(check_import("tidelock:plugin/log@0.1.7").is_ok());
        assert_eq!(check_import("tidelock:plugin/log@0.2.0").unwrap_err().code, "plugin.contract_version");
        assert_eq!(check_import("tidelock:plugin/log@0.10.0").unwrap_err().code, "plugin.contract_version");
        assert_eq!(check_import("tidelock:plugin/secrets@0.1.0").unwrap_err().code, "plugin.forbidden_import");
        let wasi = check_import("wasi:sockets/tcp@0.2.0").unwrap_err();
        assert!(wasi.message.contains("wasi:sockets/tcp@0.2.0") && wasi.message.contains("wasm32-unknown-unknown"));
    }

    #[test]
    fn wasi_is_imported_by_grant_and_the_network_never() {
        let imports = ["wasi:clocks/wall-clock@0.2.3", "tidelock:plugin/log@0.1.0", "wasi:random/random@0.2.0"];
        let check = |grants: &[&str]| {
            let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
            check_imports(&imports, "mine", &grants)
        };
        assert!(check(&["wasi:clocks", "wasi:random/random"]).is_ok());
        let refused = check(&[]).unwrap_err();
        assert_eq!(refused.code, "plugin.forbidden_import");
        assert!(refused.message.contains(r#""grants": {"mine": ["wasi:clocks", "wasi:random"]}"#), "{refused}");
        assert!(
            check(&["wasi:clocks/monotonic-clock", "wasi:random"]).unwrap_err().message.contains("[\"wasi:clocks\"]")
        );
        for name in ["wasi:sockets/tcp@0.2.0", "wasi:http/types@0.2.0", "wasi:clocksx/a@0.2.0", "evil:clocks/a"] {
            let grants = ["wasi:sockets".to_owned(), "wasi:http".to_owned(), name.to_owned()];
            assert_eq!(check_imports(&[name], "mine", &grants).unwrap_err().code, "plugin.forbidden_import", "{name}");
        }
    }

    #[test]
    fn exports_are_found_by_interface_and_version() {
        let names = ["init", "tidelock:plugin/meta@0.1.3", "tidelock:plugin/validator@0.3.0"];
        assert_eq!(exported(&names, "meta").unwrap(), Some("tidelock:plugin/meta@0.1.3"));
        assert_eq!(exported(&names, "field-transform").unwrap(), None);
        assert_eq!(exported(&names, "validator").unwrap_err().code, "plugin.contract_version");
    }
}
