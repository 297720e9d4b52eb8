//! From the bytes of a file to a plugin that may run: every check there is, off the sync's path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::{Component, InstancePre};

use super::bindings::{self, Exports};
use super::host::{Host, LoadedPlugin};
use super::images::{Images, blocking, digest};
use super::instance::{CallFailure, Guest, Image, no_room};
use super::laws::{self, Guests};
use super::limits::{MESSAGE_CHARS_MAX, printable};
use super::{PluginError, describe, examples, preamble};

/// Loads plugins. Nothing that a file says makes it fail otherwise than with a reason.
#[derive(Clone)]
pub(super) struct Loader {
    pub(super) host: Arc<Host>,
    pub(super) images: Arc<Images>,
    /// What plugins may import of WASI, by stem.
    pub(super) grants: Arc<BTreeMap<String, Vec<String>>>,
}

/// A file's bytes under the name that its functions get.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) stem: Arc<str>,
    pub(super) bytes: Arc<[u8]>,
    pub(super) digest: Arc<str>,
}

impl Candidate {
    pub(super) fn new(stem: &str, bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes).into();
        Self { stem: stem.into(), bytes: bytes.into(), digest }
    }
}

impl Loader {
    /// Checks the file's form, compiles it in a child, checks what it imports and exports, has it describe itself, runs its examples
    /// and tries the laws that it declares.
    ///
    /// # Errors
    /// Why the plugin is refused.
    pub(super) async fn load(&self, candidate: Candidate) -> Result<LoadedPlugin, PluginError> {
        let started = Instant::now();
        let size = u64::try_from(candidate.bytes.len()).unwrap_or(u64::MAX);
        if size > self.host.limits.file_bytes {
            let message = format!("it has {size} bytes; `plugins.limits` allows {}", self.host.limits.file_bytes);
            return Err(PluginError::new("plugin.too_large", message));
        }
        preamble::check(&candidate.bytes)?;
        let component = self.images.component(&self.host.engine, &candidate.bytes, &candidate.digest).await?;
        let loader = self.clone();
        blocking(move || loader.describe_and_try(&component, candidate, started)).await
    }

    fn describe_and_try(
        &self,
        component: &Component,
        candidate: Candidate,
        started: Instant,
    ) -> Result<LoadedPlugin, PluginError> {
        let Candidate { stem, digest, .. } = candidate;
        let host = &self.host;
        let grants = self.grants.get(&*stem).map(Vec::as_slice).unwrap_or_default();
        let exports = Exports::find(component, &stem, grants)?;
        let granted = !grants.is_empty();
        let pre = instantiate_pre(host, component, granted).map_err(|error| {
            let message = format!("its imports are not of the types in wit/plugin.wit: {error:#}");
            PluginError::new("plugin.contract", message)
        })?;
        let image = Image { plugin: Arc::clone(&stem), pre, exports, granted };
        let instantiate = || host.instantiate(&image).map_err(|failure| failed("its start functions", failure));
        let info = instantiate()?.describe().map_err(|failure| failed("`describe`", failure))?;
        let description = describe::check(info, &image.exports, &stem, &digest)?;
        if !self.images.passed(&digest) {
            // Another instance: `describe` must not be what makes the examples work.
            examples::check(&mut instantiate()?, &description.functions, &host.limits)?;
            laws::check(&mut Guests::new(host, &image), &description.functions)?;
            self.images.remember_passed(&digest);
        }
        let load_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(LoadedPlugin::new(image, digest, description, load_ms))
    }
}

fn instantiate_pre(host: &Host, component: &Component, granted: bool) -> wasmtime::Result<InstancePre<Guest>> {
    if granted {
        bindings::linker_with_wasi(&host.engine)?.instantiate_pre(component)
    } else {
        host.linker.instantiate_pre(component)
    }
}

fn failed(what: &str, failure: CallFailure) -> PluginError {
    let reason = match failure {
        CallFailure::Unusable(error) => return error,
        CallFailure::NoRoom => return no_room(),
        CallFailure::Refused(error) | CallFailure::NotOpened(error) => printable(&error.message, MESSAGE_CHARS_MAX),
        CallFailure::Fault(fault) => {
            let error = fault.into_value_error();
            format!("{} [{}]", error.message, error.code)
        }
    };
    PluginError::new("plugin.describe_failed", format!("{what} failed: {reason}"))
}
