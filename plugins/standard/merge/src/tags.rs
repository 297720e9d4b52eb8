//! Three-way merge of lists without order.

/// The tags that nobody removed, the target's first, and those that the source added.
pub fn merge_tags(base: &str, source: &str, target: &str, separator: &str) -> String {
    let [base, from_source, from_target] = [base, source, target].map(|list| tags(list, separator));
    let mut merged: Vec<&str> = Vec::new();
    let kept = |tag: &&str| !base.contains(tag) || (from_source.contains(tag) && from_target.contains(tag));
    for tag in from_target.iter().chain(&from_source).copied().filter(kept) {
        if !merged.contains(&tag) {
            merged.push(tag);
        }
    }
    // As the sides write it: with a space behind the separator or without.
    let spaced = [target, source].iter().any(|list| list.contains(&format!("{separator} ")));
    merged.join(&if spaced { format!("{separator} ") } else { separator.to_owned() })
}

fn tags<'a>(list: &'a str, separator: &str) -> Vec<&'a str> {
    list.split(separator).map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_are_added_and_removals_removed() {
        for (base, source, target, merged) in [
            ("a,b", "a,b,c", "b", "b,c"),
            ("a,b", "", "a,b,c", "c"),
            ("", "a", "a", "a"),
            ("a", "a", "a", "a"),
            ("a", "", "", ""),
            ("a", "b", "c", "c,b"),
            ("a,a", "a", "a,b,b", "a,b"),
            (" a ,b", "a;c,b", "a, b", "b, a;c"),
        ] {
            assert_eq!(merge_tags(base, source, target, ","), merged, "{base} | {source} | {target}");
        }
    }

    #[test]
    fn both_directions_keep_the_same_tags() {
        let lists = ["", "a", "b", "a,b", "b,c", "c,a", "a,b,c"];
        for base in lists {
            for source in lists {
                for target in lists {
                    let mut one: Vec<String> =
                        merge_tags(base, source, target, ",").split(',').map(str::to_owned).collect();
                    let mut other: Vec<String> =
                        merge_tags(base, target, source, ",").split(',').map(str::to_owned).collect();
                    one.sort();
                    other.sort();
                    assert_eq!(one, other);
                    // What is agreed already stays.
                    assert_eq!(merge_tags(target, target, target, ","), target);
                }
            }
        }
    }
}
