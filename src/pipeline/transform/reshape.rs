//! Record transforms: several fields of one side make several of the other.

use super::{Cell, Mapped, Rejection, Stage, fit, unusable};
use crate::error::Result;
use crate::pipeline::binding::{BoundField, Computed};
use crate::plugin::{Reshaped, ValueError};
use crate::record::{Layout, Record, layout};

impl Stage<'_> {
    /// Adds the cells of what `computed` makes of each record.
    pub(super) async fn reshape(&self, computed: &Computed, records: &[&Record], out: &mut [Mapped]) -> Result<()> {
        let names: Layout = layout(computed.inputs.iter().map(|of| &of.name));
        let input = |record: &&Record| {
            let value = |of: &BoundField| record.values().get(of.position).cloned().flatten();
            Record::new(Layout::clone(&names), computed.inputs.iter().map(value).collect())
        };
        let function = &computed.function;
        let made = self.plugins.reshape(function, &self.context, records.iter().map(input).collect()).await;
        let made = made.map_err(|error| unusable(function, &error))?;
        for (cells, made) in out.iter_mut().zip(made) {
            match made {
                Ok(Reshaped::Keep(record)) => cells.extend(computed.outputs.iter().map(|of| {
                    // What it leaves absent is not written.
                    fit(record.get(&of.name).cloned(), &function.name, of)
                })),
                Ok(Reshaped::Skip) => {
                    let said = self.said(computed, "plugin.skipped", "leaves it out");
                    let rejection = Box::new(Rejection { skipped: true, ..said });
                    cells.iter_mut().for_each(|cell| *cell = Err(rejection.clone()));
                    cells.extend(refused(computed, rejection));
                }
                Ok(Reshaped::Review) => {
                    let rejection = Box::new(self.said(computed, "plugin.review", "wants a person to look at it"));
                    cells.iter_mut().for_each(|cell| *cell = Err(rejection.clone()));
                    cells.extend(refused(computed, rejection));
                }
                Err(error) => {
                    let rejection = Rejection::by(self.plugins.as_ref(), function, None, error);
                    cells.extend(refused(computed, Box::new(rejection)));
                }
            }
        }
        Ok(())
    }

    fn said(&self, computed: &Computed, code: &str, message: &str) -> Rejection {
        let error = ValueError { code: code.to_owned(), message: message.to_owned() };
        Rejection::by(self.plugins.as_ref(), &computed.function, None, error)
    }
}

fn refused(computed: &Computed, rejection: Box<Rejection>) -> impl Iterator<Item = Cell> {
    computed.outputs.iter().map(move |_| Err(rejection.clone()))
}
