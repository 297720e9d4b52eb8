//! Which pairs a file holds (layer 2): one sync, the `syncs` of a service, a hub's spokes.

use std::path::Path;

use super::pair::{self, Draft};
use super::scope::Scope;
use super::{Context, endpoint, hub};
use crate::config::document::Shape;
use crate::config::raw::{self, File, Place};
use crate::config::{Endpoint, Location, PairConfig, Problem, codes};

/// Keys that say nothing about a sync. `monitoring` may stand beside them: it has the log level.
const SERVICE_KEYS: &[&str] = &["$schema", "include", "state", "plugins", "server", "monitoring"];

pub(super) fn read(context: &mut Context<'_>, file: &File, pairs: &mut Vec<PairConfig>) {
    let several = file.syncs.is_some() || hub::is_hub(file);
    if several {
        refuse_own_sync(context, file);
    } else if says_sync(context, file) {
        let name = own_name(context, file.at, file.connection_name.as_deref(), "");
        let ends = (file.source.as_ref(), file.target.as_ref());
        let scope = Scope::new(vec![(file.at, &file.keys)]);
        pairs.push(sync(context, name, file.at, ends, scope));
    }
    for (index, one) in file.syncs.iter().flatten().enumerate() {
        let suffix = format!("-{}", index + 1);
        let name = own_name(context, one.at, one.connection_name.as_deref(), &suffix);
        let scope = Scope::new(vec![(one.at, &one.keys), (file.at, &file.keys)]);
        pairs.push(sync(context, name, one.at, (one.source.as_ref(), one.target.as_ref()), scope));
    }
    if hub::is_hub(file) {
        hub::read(context, file, pairs);
    }
}

/// Whether the top of a file is a sync of its own.
fn says_sync(context: &Context<'_>, file: &File) -> bool {
    let root = context.documents.document(file.at).and_then(|document| document.node(file.at.node));
    match root.map(|node| &node.shape) {
        Some(Shape::Object(members)) => members.iter().any(|member| !SERVICE_KEYS.contains(&member.key.as_str())),
        Some(Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::String(_) | Shape::Array(_)) | None => false,
    }
}

/// The keys of one sync make no sense beside several.
fn refuse_own_sync(context: &mut Context<'_>, file: &File) {
    let beside = if file.syncs.is_some() { "syncs" } else { "connected_systems" };
    let own = [
        ("source", file.source.is_some()),
        ("target", file.target.is_some()),
        ("connection_name", file.connection_name.is_some()),
    ];
    for (key, _) in own.iter().filter(|(_, present)| *present) {
        let message = format!("\"{key}\" belongs to one sync, but beside it stands \"{beside}\"");
        let at = context.at_key(file.at, key);
        context.report(Problem::error(codes::MISPLACED_KEY, &at, message).suggest("move it into the sync"));
    }
}

/// `connection_name`, or the file's name (and the sync's number).
fn own_name(context: &Context<'_>, place: Place, said: Option<&str>, suffix: &str) -> (String, Location) {
    if let Some(name) = said {
        return (name.to_owned(), context.at_key(place, "connection_name"));
    }
    let stem = context.documents.document(place).and_then(|document| document.path.file_stem());
    let stem = Path::new(stem.unwrap_or_default()).display().to_string();
    (format!("{stem}{suffix}"), context.at(place))
}

type RawEnds<'a> = (Option<&'a raw::Endpoint>, Option<&'a raw::Endpoint>);

fn sync(
    context: &mut Context<'_>,
    (name, name_at): (String, Location),
    place: Place,
    ends: RawEnds<'_>,
    scope: Scope<'_>,
) -> PairConfig {
    let source = end(context, place, "source", ends.0);
    let target = end(context, place, "target", ends.1);
    pair::pair(context, Draft { name, name_at, place, scope, source, target })
}

fn end(context: &mut Context<'_>, place: Place, key: &str, raw: Option<&raw::Endpoint>) -> Endpoint {
    if raw.is_none() {
        let suggestion = format!("add \"{key}\": {{\"type\": …, \"table\": …}}");
        context.missing(place, key, &format!("the sync has no \"{key}\""), &suggestion);
    }
    endpoint::endpoint(context, place, key, raw)
}
