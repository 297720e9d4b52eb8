//! A mapping in one short text, kept with a pair's progress: another text means that the records were brought over by another mapping.

use sha2::{Digest, Sha256};

use super::{Binding, BoundField};
use crate::change::Ends;
use crate::config::Rollout;
use crate::value::Value;

/// Stands between the digest of a mapping and that of a rollout.
const AND: char = '+';

/// What a load goes by, in one text: the mapping, and which records took part where not all did.
pub fn goes_by(mapping: String, rollout: &Rollout) -> String {
    if rollout.percentage >= 100 && rollout.filter == Ends::default() {
        return mapping;
    }
    format!("{mapping}{AND}{}", hex(&format!("{:?}", (rollout.percentage, &rollout.filter))))
}

/// Whether a load that goes by `now` follows one by another mapping: the rollout aside.
pub fn is_renewed(before: Option<&str>, now: &str) -> bool {
    let mapping = |text: &str| text.split(AND).next().map(str::to_owned);
    before.is_some_and(|before| mapping(before) != mapping(now))
}

fn hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

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
        hex(&parts.join("\n"))
    }
}
