//! Three-way merge of lines (diff3).
//!
//! Lines of the base that both sides kept hold the three texts together; between two of them at most one side may have changed something.

/// More cells than this are not compared (two texts of a thousand lines that have nothing in common have a million).
const CELLS_MAX: usize = 4_000_000;

/// The merged text; `None` where both sides changed the same place, or the texts are too long to compare.
pub fn merge_lines(base: &str, source: &str, target: &str) -> Option<String> {
    let [base, source, target] = [base, source, target].map(|text| text.split('\n').collect::<Vec<_>>());
    let [in_source, in_target] = [matches(&base, &source)?, matches(&base, &target)?];
    let mut merged: Vec<&str> = Vec::new();
    // Where the next part begins in each text.
    let (mut b, mut s, mut t) = (0, 0, 0);
    let held = in_source.iter().zip(&in_target).enumerate().filter_map(|(at, (s, t))| Some((at, (*s)?, (*t)?)));
    for (base_end, source_end, target_end) in held.chain([(base.len(), source.len(), target.len())]) {
        let parts = (base.get(b..base_end)?, source.get(s..source_end)?, target.get(t..target_end)?);
        merged.extend_from_slice(merge_part(parts)?);
        merged.extend(base.get(base_end));
        (b, s, t) = (base_end + 1, source_end + 1, target_end + 1);
    }
    Some(merged.join("\n"))
}

type Lines<'a, 'b> = &'b [&'a str];

/// What becomes of a part that is not held by both sides.
fn merge_part<'a, 'b>((base, source, target): (Lines<'a, 'b>, Lines<'a, 'b>, Lines<'a, 'b>)) -> Option<Lines<'a, 'b>> {
    if source == target || target == base {
        Some(source)
    } else if source == base {
        Some(target)
    } else {
        None
    }
}

/// For each line of `base` the line of `other` that it is, in a longest common subsequence.
fn matches(base: &[&str], other: &[&str]) -> Option<Vec<Option<usize>>> {
    let head = base.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (base_rest, other_rest) = (base.get(head..)?, other.get(head..)?);
    let tail = base_rest.iter().rev().zip(other_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (base_middle, other_middle) =
        (base_rest.get(..base_rest.len() - tail)?, other_rest.get(..other_rest.len() - tail)?);
    let mut found: Vec<Option<usize>> = (0..head).map(Some).collect();
    found.extend(matches_by_table(base_middle, other_middle)?.into_iter().map(|at| at.map(|at| at + head)));
    found.extend((other.len() - tail..other.len()).map(Some));
    Some(found)
}

fn matches_by_table(base: &[&str], other: &[&str]) -> Option<Vec<Option<usize>>> {
    let width = other.len() + 1;
    let cells = (base.len() + 1).checked_mul(width).filter(|cells| *cells <= CELLS_MAX)?;
    // At (i, j): how many lines the rests from i and j on have in common.
    let mut common = vec![0_u32; cells];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, line) in base.iter().enumerate().rev() {
        for (j, other_line) in other.iter().enumerate().rev() {
            let longest = if line == other_line {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            *common.get_mut(i * width + j)? = longest;
        }
    }
    let mut found = vec![None; base.len()];
    let (mut i, mut j) = (0, 0);
    while let (Some(line), Some(other_line)) = (base.get(i), other.get(j)) {
        if line == other_line {
            *found.get_mut(i)? = Some(j);
            (i, j) = (i + 1, j + 1);
        } else if at(&common, i + 1, j) >= at(&common, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_in_different_places_meet() {
        for (base, source, target, merged) in [
            ("a\nb\nc", "A\nb\nc", "a\nb\nC", Some("A\nb\nC")),
            ("a\nb\nc", "a\nb\nc\nd", "x\na\nb\nc", Some("x\na\nb\nc\nd")),
            ("a\nb\nc", "a\nc", "a\nb\nc\nd", Some("a\nc\nd")),
            ("a\nb\nc", "", "a\nb\nc", Some("")),
            ("a\nb\nc", "a\nB\nc", "a\nB\nc", Some("a\nB\nc")),
            ("a\nb\nc", "a\nB\nc", "a\nX\nc", None),
            ("a", "a\ns", "a\nt", None),
            ("", "s", "t", None),
            ("a\nb", "A\nb", "a\nB", None),
            ("a\n", "a\nb\n", "c\na\n", Some("c\na\nb\n")),
            ("a\r\nb\r\nc\r\n", "a\r\nb\r\nC\r\n", "A\r\nb\r\nc\r\n", Some("A\r\nb\r\nC\r\n")),
        ] {
            assert_eq!(merge_lines(base, source, target).as_deref(), merged, "{base:?} {source:?} {target:?}");
        }
    }

    #[test]
    fn it_is_symmetric_and_one_sided_changes_always_pass() {
        let mut state = 7_u64;
        let mut text = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let lines = (state >> 60) % 7;
            (0..lines)
                .map(|at| ["a", "b", "c"][usize::try_from(state >> (8 + 4 * at) & 15).unwrap() % 3])
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut merged_well = 0;
        for _ in 0..20_000 {
            let (base, source, target) = (text(), text(), text());
            let merged = merge_lines(&base, &source, &target);
            assert_eq!(merged, merge_lines(&base, &target, &source), "{base:?} {source:?} {target:?}");
            assert_eq!(merge_lines(&base, &source, &base), Some(source.clone()));
            assert_eq!(merge_lines(&base, &source, &source), Some(source));
            merged_well += usize::from(merged.is_some());
        }
        assert!(merged_well > 1_000, "{merged_well}");
    }

    #[test]
    fn what_is_too_long_to_compare_is_left_to_a_person() {
        let long = |letter: &str| (0..3_000).map(|at| format!("{letter}{at}")).collect::<Vec<_>>().join("\n");
        assert_eq!(merge_lines(&long("a"), &long("b"), &long("c")), None);
        // Long alone is no obstacle.
        let base = long("a");
        assert_eq!(merge_lines(&base, &format!("{base}\nb"), &format!("c\n{base}")), Some(format!("c\n{base}\nb")));
    }
}
