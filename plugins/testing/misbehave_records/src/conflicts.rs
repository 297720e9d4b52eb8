//! Resolvers that answer with resolutions which are right but for what their name says: they take the source's values.

use crate::exports::tidelock::plugin::conflict_resolver::{
    Conflicts, Context, FieldChoice, Guest, GuestResolver, PluginError, Resolution, Resolver,
};
use crate::{Plugin, find, spin, texts, trap_on};

pub const NAMES: [&str; 8] =
    ["re_trap_on_poison", "re_loop", "re_choices", "re_choice", "re_custom", "re_kind", "re_same_name", "re_disposition"];

pub struct Opened(&'static str);

impl Guest for Plugin {
    type Resolver = Opened;
}

impl GuestResolver for Opened {
    fn open(function: String, _: String) -> Result<Resolver, PluginError> {
        Ok(Resolver::new(Self(find(&NAMES, &function)?)))
    }

    fn fields(&self) -> Vec<String> {
        vec!["something_else".to_owned()]
    }

    fn resolve(&self, _: Context, input: Conflicts) -> Result<Resolution, PluginError> {
        input.source.values.columns.iter().for_each(|named| trap_on(&named.column, b"poison"));
        let rows = input.rows as usize;
        let take = |field: String| FieldChoice { field, choice: vec![1; rows], custom: None };
        let mut fields: Vec<FieldChoice> = input.contested.into_iter().map(|contested| take(contested.field)).collect();
        let mut disposition = Vec::new();
        match self.0 {
            "re_loop" => spin(),
            "re_choices" => fields[0].choice.push(1),
            "re_choice" => fields[0].choice[0] = 9,
            "re_custom" => fields[0].choice.fill(3),
            "re_kind" => {
                fields[0].choice.fill(3);
                fields[0].custom = Some(texts(&vec!["x"; rows]));
            }
            "re_same_name" => fields.push(fields[0].clone()),
            "re_disposition" => disposition = vec![0; rows + 1],
            _ => {}
        }
        Ok(Resolution { disposition, fields, reasons: None })
    }
}
