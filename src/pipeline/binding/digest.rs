//! A mapping in one short text, kept with a pair's progress: another text means that the records were brought over by another mapping.

use sha2::{Digest, Sha256};

use super::{Binding, BoundField};
use crate::change::Ends;
use crate::value::Value;

impl Binding {
    /// SHA-256, in hex, of what decides which records are kept in step and what becomes of their fields: names, functions and their
    /// parameters, literals, record transforms, and `filters`. The order of the mappings does not count, nor do the plugins' versions.
    pub fn digest(&self, filters: &Ends<Option<String>>) -> String {
        let names = |fields: &[BoundField]| fields.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
        let mappings = self.mappings.iter().map(|one| {
            let (source, target) = (&one.fields.source.name, &one.fields.target.name);
            // Not by `Debug`, which keeps values to itself.
            let literal = |value: &Value| (value.kind(), value.to_text());
            let map: Vec<_> = one.value_map.iter().map(|(text, value)| (text, literal(value))).collect();
            let literals = (one.default.as_ref().map(literal), map);
            format!("{:?}", (source, target, &one.functions, one.on_error, literals, one.correlation))
        });
        let computed = self
            .computed
            .iter()
            .map(|one| format!("{:?}", (one.from, &one.function, names(&one.inputs), names(&one.outputs))));
        let lookups = self.mappings.iter().filter_map(|one| {
            let lookup = one.lookup.as_ref()?;
            Some(format!("{:?}", (&one.fields.source.name, &one.fields.target.name, &lookup.pair)))
        });
        let mut parts: Vec<String> = mappings.chain(computed).chain(lookups).collect();
        parts.sort_unstable();
        // A copy by key has no links until it is loaded as a pair that keeps them.
        parts.extend((self.looked_up && !self.flows.target).then(|| "looked up".to_owned()));
        parts.push(format!("{:?}", (self.nulls, filters)));
        Sha256::digest(parts.join("\n").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
