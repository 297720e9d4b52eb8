//! `tidelock:plugin@0.1.x` (`wit/plugin.wit`) in Rust: its types, and the typed functions of an instance.
//!
//! Written by hand instead of generated: a generated world demands every export, while a plugin has `meta` and any of the roles.

use std::sync::Arc;

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Linker, Lower, ResourceAny, TypedFunc, WasmStr,
};
use wasmtime::{Store, StoreContextMut};

mod types;

pub(in crate::plugin) use types::*;

use super::Role;
use crate::plugin::PluginError;
use crate::plugin::instance::Guest;
use crate::plugin::limits::LOG_LINE_CHARS_MAX;

/// `meta.describe`.
pub(in crate::plugin) type Describe = TypedFunc<(), (PluginInfo,)>;
/// `open` of every columnar role.
pub(in crate::plugin) type Open = TypedFunc<(Arc<str>, Arc<str>), (Result<ResourceAny, CallError>,)>;
/// `fields` of every columnar role but field transforms.
pub(in crate::plugin) type Fields = TypedFunc<(ResourceAny,), (Vec<String>,)>;
/// What a columnar function is asked with one input.
pub(in crate::plugin) type Columnar<I, O> = TypedFunc<(ResourceAny, Context, I), (Result<O, CallError>,)>;
/// What a simple function is asked with texts.
pub(in crate::plugin) type Simple<O> =
    TypedFunc<(Context, Arc<str>, Arc<str>, Vec<String>), (Result<Vec<O>, CallError>,)>;
/// `field-transform.transform.apply`.
pub(in crate::plugin) type Apply = Columnar<Column, Outcome>;
/// `record-transform.transform.apply`.
pub(in crate::plugin) type Reshape = Columnar<Batch, BatchOutcome>;
/// `validator.rule.check`.
pub(in crate::plugin) type Check = Columnar<Batch, Vec<RowViolation>>;
/// `conflict-resolver.resolver.resolve`.
pub(in crate::plugin) type Resolve = Columnar<Conflicts, BatchResolution>;
/// `simple-validator.check`.
pub(in crate::plugin) type SimpleCheck = Simple<Vec<SimpleViolation>>;
/// `simple-resolver.resolve`.
pub(in crate::plugin) type SimpleResolve = Simple<String>;
/// One answer of `simple-transform.apply`.
pub(in crate::plugin) type SimpleAnswer = Result<Option<String>, Failure>;
/// `simple-transform.apply`.
pub(in crate::plugin) type SimpleApply =
    TypedFunc<(Context, Arc<str>, Arc<str>, u16, Vec<Option<String>>), (Result<Vec<SimpleAnswer>, CallError>,)>;

/// Where the functions stand in a component.
#[derive(Clone)]
pub(in crate::plugin) struct Exports {
    describe: ComponentExportIndex,
    roles: Vec<(Role, Place)>,
}

#[derive(Clone, Copy)]
enum Place {
    Columnar { open: ComponentExportIndex, fields: Option<ComponentExportIndex>, call: ComponentExportIndex },
    Simple { call: ComponentExportIndex },
}

/// The functions of one instance.
pub(in crate::plugin) struct Bound {
    pub(in crate::plugin) describe: Describe,
    pub(in crate::plugin) transform: Option<Form<Apply, SimpleApply>>,
    pub(in crate::plugin) reshape: Option<Form<Reshape, Missing>>,
    pub(in crate::plugin) validate: Option<Form<Check, SimpleCheck>>,
    pub(in crate::plugin) resolve: Option<Form<Resolve, SimpleResolve>>,
}

/// The two forms of a role.
#[derive(Clone, Copy)]
pub(in crate::plugin) enum Form<C, S> {
    Columnar(Opener, C),
    Simple(S),
}

/// What comes before the calls of a columnar function.
#[derive(Clone, Copy)]
pub(in crate::plugin) struct Opener {
    pub(in crate::plugin) open: Open,
    pub(in crate::plugin) fields: Option<Fields>,
}

/// The simple form that record transforms do not have.
pub(in crate::plugin) type Missing = std::convert::Infallible;

impl<C, S> Form<C, S> {
    fn opener(&self) -> Option<Opener> {
        match self {
            Self::Columnar(opener, _) => Some(*opener),
            Self::Simple(_) => None,
        }
    }
}

impl Bound {
    /// How a function of the role is opened; `None` where it is simple, and so is never opened.
    pub(in crate::plugin) fn opener(&self, role: Role) -> Option<Opener> {
        match role {
            Role::FieldTransform => self.transform.as_ref().and_then(Form::opener),
            Role::RecordTransform => self.reshape.as_ref().and_then(Form::opener),
            Role::Validator => self.validate.as_ref().and_then(Form::opener),
            Role::ConflictResolver => self.resolve.as_ref().and_then(Form::opener),
        }
    }
}

/// Names inside the interfaces of a role: the resource, its method (which is also the simple form's function), whether it says
/// which fields it wants.
fn names(role: Role) -> (&'static str, &'static str, bool) {
    match role {
        Role::FieldTransform => ("transform", "apply", false),
        Role::RecordTransform => ("transform", "apply", true),
        Role::Validator => ("rule", "check", true),
        Role::ConflictResolver => ("resolver", "resolve", true),
    }
}

impl Exports {
    /// `meta` is the full name of that interface; for each role those of the columnar and the simple one, where they are exported.
    pub(super) fn find(
        component: &Component,
        meta: &str,
        roles: &[(Role, Option<&str>, Option<&str>)],
    ) -> Result<Self, PluginError> {
        let function = |interface: &str, name: &str| {
            let index = component.get_export_index(None, interface);
            index.and_then(|index| component.get_export_index(Some(&index), name)).ok_or_else(|| {
                PluginError::new(
                    "plugin.contract",
                    format!("`{interface}` has no function `{name}`; see wit/plugin.wit"),
                )
            })
        };
        let mut found = Vec::new();
        for (role, columnar, simple) in roles {
            let (resource, call, has_fields) = names(*role);
            match (columnar, simple) {
                (Some(interface), _) => {
                    let fields = if has_fields {
                        Some(function(interface, &format!("[method]{resource}.fields"))?)
                    } else {
                        None
                    };
                    let open = function(interface, &format!("[static]{resource}.open"))?;
                    let call = function(interface, &format!("[method]{resource}.{call}"))?;
                    found.push((*role, Place::Columnar { open, fields, call }));
                }
                (None, Some(interface)) => found.push((*role, Place::Simple { call: function(interface, call)? })),
                (None, None) => {}
            }
        }
        Ok(Self { describe: function(meta, "describe")?, roles: found })
    }

    pub(super) fn has(&self, role: Role) -> bool {
        self.roles.iter().any(|(known, _)| *known == role)
    }

    pub(super) fn bind(&self, store: &mut Store<Guest>, instance: &Instance) -> Result<Bound, PluginError> {
        let describe = typed(store, instance, self.describe, "describe")?;
        let mut bound = Bound { describe, transform: None, reshape: None, validate: None, resolve: None };
        for (role, place) in &self.roles {
            let (_, name, _) = names(*role);
            match (role, *place) {
                (Role::FieldTransform, place) => bound.transform = Some(form(store, instance, place, name)?),
                (Role::Validator, place) => bound.validate = Some(form(store, instance, place, name)?),
                (Role::ConflictResolver, place) => bound.resolve = Some(form(store, instance, place, name)?),
                (Role::RecordTransform, Place::Columnar { open, fields, call }) => {
                    let opener = opener(store, instance, open, fields)?;
                    bound.reshape = Some(Form::Columnar(opener, typed(store, instance, call, name)?));
                }
                (Role::RecordTransform, Place::Simple { .. }) => {}
            }
        }
        Ok(bound)
    }
}

type Typed<T> = Result<T, PluginError>;

fn form<P, R, Q, S>(
    store: &mut Store<Guest>,
    instance: &Instance,
    place: Place,
    name: &str,
) -> Typed<Form<TypedFunc<P, R>, TypedFunc<Q, S>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
    Q: ComponentNamedList + Lower,
    S: ComponentNamedList + Lift,
{
    match place {
        Place::Columnar { open, fields, call } => {
            let opener = opener(store, instance, open, fields)?;
            Ok(Form::Columnar(opener, typed(store, instance, call, name)?))
        }
        Place::Simple { call } => Ok(Form::Simple(typed(store, instance, call, name)?)),
    }
}

fn opener(
    store: &mut Store<Guest>,
    instance: &Instance,
    open: ComponentExportIndex,
    fields: Option<ComponentExportIndex>,
) -> Typed<Opener> {
    let open = typed(store, instance, open, "open")?;
    let fields = fields.map(|index| typed(store, instance, index, "fields")).transpose()?;
    Ok(Opener { open, fields })
}

fn typed<P, R>(
    store: &mut Store<Guest>,
    instance: &Instance,
    index: ComponentExportIndex,
    name: &str,
) -> Typed<TypedFunc<P, R>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    instance.get_typed_func(store, index).map_err(|error| mistyped(name, &error))
}

fn mistyped(function: &str, error: &wasmtime::Error) -> PluginError {
    let message = format!("`{function}` is not of the type in wit/plugin.wit: {}", error.root_cause());
    PluginError::new("plugin.contract", message)
}

/// Gives `log.write`: at most so many lines and bytes per call, the rest is dropped.
pub(super) fn add_log(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("tidelock:plugin/log@0.1.0")?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Guest>, (level, message): (u8, WasmStr)| {
            // A flood costs the host nothing but the call.
            if store.data().log_is_full() {
                return Ok(());
            }
            // Borrowed from the guest's memory: of a long message only what can be shown is copied.
            let message: String = message.to_str(&store)?.chars().take(LOG_LINE_CHARS_MAX + 1).collect();
            store.data_mut().log(level, &message);
            Ok(())
        },
    )
}
