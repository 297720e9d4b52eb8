//! `rollout`: which records take part so far; the others are held back, and looked at again when it widens (row 6).
//!
//! A record that is held back is written nowhere. Nothing of it is kept, because the next load, which a changed rollout begins, finds it
//! again; except for a delete of a copy, which nothing else would know of.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::apply::key_of;
use super::binding::Binding;
use super::item::{Item, Step};
use super::{Done, Pipeline};
use crate::change::{End, Ends};
use crate::connector::Target;
use crate::error::Result;
use crate::record::{Key, Record};
use crate::state::{Finding, ReviewKind};
use crate::value::Value;

/// The code of a delete that waits for the rollout to widen.
pub const HELD: &str = "rollout.held";

/// Which records take part.
#[derive(Clone)]
pub struct Rollout {
    /// Share of the records, by a hash of their key: 0 to 100.
    pub percentage: u8,
    /// Each side as the rollout's filter lets it through; `None` where that side has no such filter.
    pub scopes: Ends<Option<Arc<dyn Target>>>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { percentage: 100, scopes: Ends::default() }
    }
}

impl Rollout {
    /// Whether every record takes part.
    pub fn is_whole(&self) -> bool {
        self.percentage >= 100 && !self.is_filtered()
    }

    fn is_filtered(&self) -> bool {
        self.scopes.source.is_some() || self.scopes.target.is_some()
    }

    /// Whether a record of this key has its turn. One without a key has it last: its place would change once it gets one.
    fn has_turn(&self, key: Option<&[String]>) -> bool {
        self.percentage >= 100 || key.is_some_and(|key| place(key) < self.percentage)
    }
}

/// The place of a key among a hundred: the first eight bytes of the SHA-256 of its texts, joined by line breaks, modulo 100.
fn place(key: &[String]) -> u8 {
    let digest = Sha256::digest(key.join("\n"));
    let head = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    u8::try_from(head % 100).unwrap_or_default()
}

/// What is known of a link or a record alone: enough to say whether it takes part.
pub struct Candidate<'a> {
    /// The records that there are.
    pub now: Ends<Option<&'a Record>>,
    /// What was agreed.
    pub base: Option<&'a Ends<Record>>,
}

impl Candidate<'_> {
    /// The texts of the pair's `key`, which both sides share, in the source's kinds. What was agreed counts first, so that an edited key
    /// does not change whether its record takes part.
    fn key(&self, binding: &Binding) -> Option<Vec<String>> {
        let of = |end: End, record: &Record| -> Option<Vec<String>> {
            let part = |name: &String| record.get(name).and_then(|value| text(binding, end, name, value));
            binding.correlation.get(end).iter().map(part).collect()
        };
        let base = |end: End| self.base.and_then(|base| of(end, base.get(end)));
        let now = |end: End| self.now.get(end).and_then(|record| of(end, record));
        base(End::Source).or_else(|| now(End::Source)).or_else(|| base(End::Target)).or_else(|| now(End::Target))
    }
}

/// A value of a field of the key, as the source has it.
fn text(binding: &Binding, end: End, name: &str, value: &Value) -> Option<String> {
    let mut correlated = binding.mappings.iter().filter(|mapping| mapping.correlation);
    let kind = correlated.find(|mapping| mapping.fields.get(end).name == name)?.fields.source.kind;
    Some(value).filter(|value| !value.is_null())?.clone().convert(kind).ok()?.to_text()
}

impl Pipeline {
    /// Which of these the rollout holds back.
    ///
    /// # Errors
    /// Where a side cannot be read.
    pub async fn held_back(&self, candidates: &[Candidate<'_>]) -> Result<Vec<bool>> {
        let mut inside = vec![!self.rollout.is_filtered(); candidates.len()];
        for end in [End::Source, End::Target] {
            let Some(scope) = self.rollout.scopes.get(end) else { continue };
            let known = candidates.iter().enumerate();
            let known = known.filter_map(|(at, one)| Some((at, key_of(&self.binding, end, (*one.now.get(end))?)?)));
            let (places, keys): (Vec<usize>, Vec<Key>) = known.unzip();
            let images = if keys.is_empty() { Vec::new() } else { scope.fetch(&keys).await? };
            for (at, image) in places.into_iter().zip(images) {
                if let Some(slot) = inside.get_mut(at) {
                    *slot |= image.is_some();
                }
            }
        }
        let held = |(one, inside): (&Candidate<'_>, bool)| {
            let something_left = one.now.source.is_some() || one.now.target.is_some();
            let takes_part = inside && self.rollout.has_turn(one.key(&self.binding).as_deref());
            something_left && !takes_part
        };
        Ok(candidates.iter().zip(inside).map(held).collect())
    }

    /// Takes out the items that the rollout holds back.
    pub(super) async fn hold_back(&self, items: &mut Vec<Item>, done: &mut Done) -> Result<()> {
        if self.rollout.is_whole() {
            return Ok(());
        }
        fn candidate(item: &Item) -> Candidate<'_> {
            Candidate { now: Ends::from_fn(|end| item.image(end)), base: item.base.as_ref() }
        }
        let held = {
            let candidates: Vec<Candidate<'_>> = items.iter().map(candidate).collect();
            self.held_back(&candidates).await?
        };
        for (item, _) in items.iter_mut().zip(held).filter(|(_, held)| *held) {
            item.hold_back(done);
        }
        items.retain(|item| item.step != Step::Closed);
        Ok(())
    }

    /// Takes the records out of a copy's batch that the rollout holds back, `asked` aside, which a person has decided. Only their keys are
    /// left of those that were deleted: where the rollout's filter cannot tell about them, they wait.
    pub(super) async fn hold_back_copies(
        &self,
        read: &mut Vec<(Key, Option<Record>)>,
        asked: impl Fn(&Key) -> bool,
        done: &mut Done,
    ) -> Result<()> {
        if self.rollout.is_whole() || read.is_empty() {
            return Ok(());
        }
        let inside = self.copies_inside(read).await?;
        let mut inside = inside.into_iter();
        read.retain(|(key, image)| {
            let texts: Option<Vec<String>> = key.0.iter().map(Value::to_text).collect();
            let takes_part = inside.next().unwrap_or_default() && self.rollout.has_turn(texts.as_deref());
            if takes_part || asked(key) {
                return true;
            }
            done.hold_back([(End::Source, key.clone())]);
            if image.is_none() {
                let text = "its delete is held back by \"rollout\"";
                done.file(Finding::new(End::Source, key.clone(), ReviewKind::Waiting, HELD, text));
            }
            false
        });
        Ok(())
    }

    /// Which records of a copy the rollout's filter lets through: the source's says it of those that are there, the target's of those
    /// that are not.
    async fn copies_inside(&self, read: &[(Key, Option<Record>)]) -> Result<Vec<bool>> {
        if !self.rollout.is_filtered() {
            return Ok(vec![true; read.len()]);
        }
        let mut inside = vec![false; read.len()];
        if let Some(scope) = &self.rollout.scopes.source {
            let keys: Vec<Key> = read.iter().map(|(key, _)| key.clone()).collect();
            inside = scope.fetch(&keys).await?.iter().map(Option::is_some).collect();
        }
        if let Some(scope) = &self.rollout.scopes.target {
            let gone = read.iter().enumerate().filter(|(_, (_, image))| image.is_none());
            let gone = gone.filter_map(|(at, (key, _))| Some((at, self.copied_key(key)?)));
            let (places, values): (Vec<usize>, Vec<Key>) = gone.unzip();
            for (at, found) in places.into_iter().zip(scope.find(&self.binding.correlation.target, &values).await?) {
                if let Some(slot) = inside.get_mut(at) {
                    *slot |= !found.is_empty();
                }
            }
        }
        Ok(inside)
    }

    /// The key of a copy's record in the target's terms.
    fn copied_key(&self, key: &Key) -> Option<Key> {
        let kind = |name: &String| {
            let mut correlated = self.binding.mappings.iter().filter(|mapping| mapping.correlation);
            Some(correlated.find(|mapping| mapping.fields.target.name == *name)?.fields.target.kind)
        };
        let values = self.binding.correlation.target.iter().zip(&key.0);
        values.map(|(name, value)| value.clone().convert(kind(name)?).ok()).collect::<Option<Vec<_>>>().map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> impl Iterator<Item = u8> {
        (0..10_000).map(|id: u32| place(&[id.to_string()]))
    }

    #[test]
    fn who_is_in_stays_in_as_the_share_grows() {
        let inside = |percentage: u8| places().filter(|place| *place < percentage).count();
        assert_eq!((inside(0), inside(100)), (0, 10_000));
        for percentage in [1_u8, 10, 50, 90] {
            let expected = usize::from(percentage) * 100;
            assert!(inside(percentage).abs_diff(expected) < 200, "{percentage}: {}", inside(percentage));
        }
    }

    #[test]
    fn the_place_of_a_key_never_changes() {
        let texts = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        // Anybody can work them out: printf 1 | sha256sum.
        assert_eq!([place(&texts(&["1"])), place(&texts(&["a", "b"]))], [13, 3]);
    }

    #[test]
    fn a_record_without_a_key_has_its_turn_last() {
        assert!(!Rollout { percentage: 99, ..Rollout::default() }.has_turn(None));
        assert!(Rollout::default().has_turn(None));
    }
}
