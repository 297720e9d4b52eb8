//! Record ids (layer 4): 15 characters whose case counts, or the same with three more that say which are capitals. Kept in 18.

/// Each of the last three characters is the place in this list of five bits: which of five characters are capitals.
const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The 18 characters of an id of 15 or 18; `None` where it is none.
pub(super) fn long(id: &str) -> Option<String> {
    let short = id.get(..15)?;
    if !short.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let signs = short.as_bytes().chunks(5).map(|block| {
        let capitals = block.iter().rev().fold(0, |bits, byte| bits << 1 | usize::from(byte.is_ascii_uppercase()));
        SIGNS.get(capitals).copied().map(char::from)
    });
    let long: String = std::iter::once(Some(short.to_owned()))
        .chain(signs.map(|sign| sign.map(String::from)))
        .collect::<Option<_>>()?;
    let same = id.len() == 15 || id == long;
    same.then_some(long)
}

/// The first 15 characters of an id of 18; `None` where it is none.
pub(super) fn short(id: &str) -> Option<&str> {
    if id.len() == 18 && long(id).is_some() { id.get(..15) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{long, short};

    #[test]
    fn both_lengths_are_one_id() {
        for id in ["001D000000IRt53IAD", "003D000000Q89kQIAR", "001R0000002GeJ1IAK"] {
            assert_eq!(long(id).as_deref(), Some(id));
            assert_eq!(short(id).and_then(long).as_deref(), Some(id));
            assert_eq!(short(id).and_then(short), None);
        }
    }

    #[test]
    fn what_lost_its_case_is_no_id_or_another() {
        assert_eq!(long("001d000000irt53IAD"), None);
        assert_ne!(long("001d000000irt53"), long("001D000000IRt53"));
        for wrong in
            ["", "001D000000IRt5", "001D000000IRt53I", "001D000000IRt5-", "001D000000IRté3", "001D000000IRt53IADx"]
        {
            assert_eq!(long(wrong), None, "{wrong}");
        }
    }
}
