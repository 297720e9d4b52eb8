//! Stage 1 (pure): many changes of one key are one look at that key.

use std::collections::HashMap;

use crate::change::Change;
use crate::record::Key;

/// One change per key, in the order of each key's first change, with the last change's content.
pub fn coalesce(changes: Vec<Change>) -> Vec<Change> {
    // Records that are scanned come in the order of their keys, so that no two are equal.
    if changes.is_sorted_by(|one, next| one.key < next.key) {
        return changes;
    }
    let mut places: HashMap<Key, usize> = HashMap::with_capacity(changes.len());
    let mut kept: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        if let Some(earlier) = places.get(&change.key).and_then(|&place| kept.get_mut(place)) {
            *earlier = change;
        } else {
            places.insert(change.key.clone(), kept.len());
            kept.push(change);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Op;
    use crate::value::Value;

    fn change(key: i64, op: Op) -> Change {
        Change { key: Key(vec![Value::Int(key)]), op, at: Some(key), image: None }
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        let kept = coalesce(vec![change(1, Op::Upsert), change(2, Op::Upsert), change(1, Op::Delete)]);
        let seen: Vec<_> = kept.iter().map(|change| (change.key.to_string(), change.op)).collect();
        assert_eq!(seen, [("1".to_owned(), Op::Delete), ("2".to_owned(), Op::Upsert)]);
    }
}
