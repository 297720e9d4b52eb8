//! `match_on`: the fields by which records without a shared key find each other.

use super::{Binder, BoundMapping};
use crate::change::End;
use crate::config::Problem;

impl Binder<'_> {
    /// Places of the mappings. They must flow wherever records do: else a record of one side would be created that the other side's
    /// would have been matched with.
    pub(super) fn match_on(&mut self, mappings: &[BoundMapping]) -> Vec<usize> {
        let flows = [(End::Source, self.pair.source_to_target), (End::Target, self.pair.target_to_source)];
        let carries =
            |mapping: &BoundMapping| flows.iter().all(|(end, flows)| !flows || mapping.functions.get(*end).is_some());
        let mut places = Vec::new();
        for name in &self.pair.match_on {
            let named = |mapping: &&BoundMapping| mapping.fields.source.name == *name;
            match mappings.iter().position(|mapping| named(&mapping) && carries(mapping)) {
                Some(place) => places.push(place),
                None => {
                    let known = mappings.iter().any(|mapping| named(&mapping));
                    let why = if known { "does not flow both ways" } else { "is not mapped" };
                    let text = format!("records cannot be matched by the source's field \"{name}\", which {why}");
                    let problem = Problem::error("mapping.match_on", &self.pair.at, text);
                    self.problems
                        .push(problem.suggest(format!("map \"{name}\" without \"direction\", or leave it out")));
                }
            }
        }
        places
    }
}
