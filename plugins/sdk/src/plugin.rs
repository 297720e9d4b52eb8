//! A plugin: its functions, their roles, and how one is bound to its parameters.

use crate::bindings::meta::exports::tidelock::plugin::meta;
use crate::bindings::transforms::tidelock::plugin::types::PluginError;
use crate::conflict_resolver::Resolve;
use crate::declare::{Declaration, plugin_info};
use crate::failure::{call_failure, unknown_function};
use crate::field_transform::Apply;
use crate::params::{ParamError, Params};
use crate::record_transform::Reshape;
use crate::validator::Check;
use std::marker::PhantomData;

/// What a function does for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One field to one field.
    FieldTransform,
    /// Several fields to several fields.
    RecordTransform,
    /// What is wrong with a record.
    Validator,
    /// What becomes of a field that both sides changed.
    ConflictResolver,
}

impl Role {
    /// Its name in `describe`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FieldTransform => "field-transform",
            Self::RecordTransform => "record-transform",
            Self::Validator => "validator",
            Self::ConflictResolver => "conflict-resolver",
        }
    }
}

/// A declared function with its closure, ready for [`plugin!`](crate::plugin).
pub struct Function {
    pub(crate) declaration: Declaration,
    pub(crate) bind: Bind,
}

/// Binds a function to its parameters, by role.
pub(crate) enum Bind {
    FieldTransform(Binding<Apply>),
    RecordTransform(Binding<Reshape>),
    Validator(Binding<Check>),
    ConflictResolver(Binding<Resolve>),
}

/// Binds a function of one role.
pub(crate) type Binding<T> = Box<dyn Fn(&Params) -> Result<T, ParamError>>;

impl Function {
    pub(crate) const fn role(&self) -> Role {
        match self.bind {
            Bind::FieldTransform(_) => Role::FieldTransform,
            Bind::RecordTransform(_) => Role::RecordTransform,
            Bind::Validator(_) => Role::Validator,
            Bind::ConflictResolver(_) => Role::ConflictResolver,
        }
    }
}

/// What [`plugin!`](crate::plugin) writes about a crate.
pub trait Plugin: 'static {
    /// Name of the plugin.
    const NAME: &'static str;
    /// Its semantic version.
    const VERSION: &'static str;
    /// Its licence, SPDX.
    const LICENSE: &'static str;
    /// The roles whose interfaces it exports.
    const ROLES: &'static [Role];
    /// Its functions.
    fn functions() -> Vec<Function>;
}

/// Binds a plugin's function to its parameters (a JSON object). `pick` takes the closure of the role that is asked for.
///
/// # Errors
/// `unknown-function` names the functions there are; `wrong-role` the function's; `invalid-params` the parameter.
pub(crate) fn open<P: Plugin, T>(
    name: &str,
    params: &str,
    pick: impl Fn(&Bind) -> Option<&Binding<T>>,
) -> Result<T, PluginError> {
    let functions = P::functions();
    let found = functions.iter().find(|function| function.declaration.name == name);
    let function = found.ok_or_else(|| unknown_function(name, functions.iter().map(|f| f.declaration.name)))?;
    let bind = pick(&function.bind).ok_or_else(|| {
        call_failure("wrong-role", format!("the role of function {name} is {}", function.role().name()))
    })?;
    let params = Params::parse(params, &function.declaration.params)?;
    Ok(bind(&params)?)
}

/// The component's exports, for [`plugin!`](crate::plugin).
pub struct Component<P>(PhantomData<P>);

impl<P: Plugin> meta::Guest for Component<P> {
    fn describe() -> meta::PluginInfo {
        let functions = P::functions().iter().map(|function| function.declaration.info(function.role())).collect();
        plugin_info(P::NAME, P::VERSION, P::LICENSE, functions)
    }
}
