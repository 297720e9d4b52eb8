//! Fields that their system computes, or does not let this user write.

use super::{Binder, Binding, BoundField};
use crate::change::End;
use crate::config::{FieldMapping, Problem};
use crate::connector::Column;
use crate::plugin::FunctionRef;

/// What is applied to a value on its way; `None` where nothing flows.
type Way = Option<Vec<FunctionRef>>;

impl Binding {
    /// Fields of `end` that flow to the other side: what their system makes of them by itself has to get there, too.
    pub fn leaving(&self, end: End) -> impl Iterator<Item = &BoundField> {
        let leaving = self.mappings.iter().filter(move |one| !one.correlation && one.functions.get(end).is_some());
        leaving.map(move |one| one.fields.get(end))
    }
}

impl Binder<'_> {
    /// The ways that a field flows, source → target and back. What flows both ways because nothing else is said flows from a field that cannot be
    /// written, and that is told; what flows only into such a field is an error.
    pub(super) fn writable_ways(
        &mut self,
        (source, target): (&Column, &Column),
        (forward, backward): (Way, Way),
        mapping: &FieldMapping,
        correlation: bool,
    ) -> (Way, Way) {
        if forward.is_some() && backward.is_some() && !correlation && source.writable != target.writable {
            let fixed = if source.writable { target } else { source };
            let text = format!(
                "column \"{}\" is computed by its system or may not be written by this user: its values flow to the other side only, and an edit \
                 there is not carried back",
                fixed.name
            );
            let direction = if source.writable { "target_to_source" } else { "source_to_target" };
            let suggestion = format!("say so: \"direction\": \"{direction}\"");
            self.problems.push(Problem::warning("mapping.read_only_field", &mapping.at, text).suggest(suggestion));
            return if source.writable { (None, backward) } else { (forward, None) };
        }
        self.check_writable(target, forward.is_some(), mapping);
        self.check_writable(source, backward.is_some() && !correlation, mapping);
        (forward, backward)
    }

    fn check_writable(&mut self, column: &Column, written: bool, mapping: &FieldMapping) {
        if written && !column.writable {
            let text = format!("column \"{}\" is computed by its system and cannot be written", column.name);
            self.problems.push(
                Problem::error("mapping.read_only_field", &mapping.at, text)
                    .suggest("set \"direction\" so that nothing flows into it"),
            );
        }
    }
}
