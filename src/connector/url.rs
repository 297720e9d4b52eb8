//! URLs of connections, as sqlx writes its options down (layer 4, shared): for those connections that it cannot open.

/// Undoes what a URL does to the characters of a password.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let coded = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coded_characters_are_read_and_others_left_alone() {
        assert_eq!(percent_decoded("a%20%C3%A9%"), "a é%");
        assert_eq!(percent_decoded("100%zz"), "100%zz");
    }
}
