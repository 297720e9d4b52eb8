//! "Did you mean …?" (layer 2).

/// The candidate that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(word);
    let limit = (plain.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, &self::plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean "x"?" where something is near, else "one of …" where there is something to choose from.
pub fn suggestion(word: &str, candidates: &[&str]) -> Option<String> {
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean \"{near}\"?"));
    }
    (!candidates.is_empty()).then(|| format!("use {}", one_of(candidates)))
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
    }
}

/// Case, `-`, `_` and spaces make no difference.
fn plain(word: &str) -> String {
    word.chars().filter(|char| !matches!(char, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["table", "type", "name", "one_way", "bidirectional", "field_mappings"];
        assert_eq!(nearest("tabel", keys), Some("table"));
        assert_eq!(nearest("one-way", keys), Some("one_way"));
        assert_eq!(nearest("fieldMapping", keys), Some("field_mappings"));
        assert_eq!(nearest("BiDirectional", keys), Some("bidirectional"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(suggestion("colour", &["a", "b", "c"]).as_deref(), Some("use \"a\", \"b\" or \"c\""));
        assert_eq!(suggestion("colour", &[]), None);
    }
}
