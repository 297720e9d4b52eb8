//! A record that waits in a circle goes first: without the references whose records are not there yet, which are filled in later.

use super::Item;
use crate::change::End;
use crate::pipeline::binding::Binding;
use crate::pipeline::transform::Mapped;
use crate::state::{Finding, ReviewKind};

impl Item {
    /// Lets the record go first.
    pub(in crate::pipeline) fn untie(&mut self) {
        self.untied = true;
    }

    /// Takes references that wait out of a record that comes from `end`, where the other side can do without: nothing is agreed
    /// about these fields, so that they flow as soon as they can.
    pub(super) fn leave_out_parents(&mut self, binding: &Binding, end: End, cells: &mut Mapped) {
        for (mapping, cell) in binding.mappings.iter().zip(cells) {
            let optional = mapping.lookup.as_ref().is_some_and(|lookup| *lookup.optional.get(end.other()));
            if optional
                && cell.as_ref().is_err_and(|rejection| rejection.waits_for.is_some())
                && let Err(rejection) = std::mem::replace(cell, Ok(None))
            {
                self.waits.get_or_insert((end, rejection));
            }
        }
    }

    /// What it goes on waiting for, though it is there.
    pub(super) fn still_waits(&mut self) -> Option<Finding> {
        let (end, rejection) = self.waits.take()?;
        let found = self.found(end, ReviewKind::Waiting, &rejection.code, rejection.message)?;
        Some(Finding { field: rejection.field, waits_for: rejection.waits_for.map(|parent| *parent), ..found })
    }
}
