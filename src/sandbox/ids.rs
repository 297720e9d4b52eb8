//! Record ids: 15 characters that tell upper from lower case, and 3 more that say which were upper case, for systems that do not.

/// Tells the three characters by five bits each.
const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What follows the prefix of the type: the instance, as in a real id.
const INSTANCE: &str = "Hs0";

/// The `number`-th id of a type, in 18 characters. Later ones are greater.
pub(super) fn generate(prefix: &str, number: u64) -> String {
    let mut digits = [b'0'; 9];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        let place = usize::try_from(left % 62).unwrap_or(0);
        *digit = DIGITS.get(place).copied().unwrap_or(b'0');
        left /= 62;
    }
    let short = format!("{prefix}{INSTANCE}{}", String::from_utf8_lossy(&digits));
    let suffix = suffix(&short);
    short + &suffix
}

fn suffix(short: &str) -> String {
    let sign = |block: &[u8]| {
        let bits =
            block.iter().enumerate().map(|(at, byte)| usize::from(byte.is_ascii_uppercase()) << at).sum::<usize>();
        SUFFIX.get(bits).copied().map_or('A', char::from)
    };
    short.as_bytes().chunks(5).map(sign).collect()
}

/// The 18 characters of an id that came in 15 or 18. The 18 may have lost their case: the last three restore it. `None` where it is no id.
pub(super) fn normalize(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let short = match text.len() {
        15 => text.to_owned(),
        18 => {
            let (short, suffix) = text.split_at_checked(15)?;
            restore_case(short, suffix)?
        }
        _ => return None,
    };
    let suffix = suffix(&short);
    Some(short + &suffix)
}

fn restore_case(short: &str, suffix: &str) -> Option<String> {
    let mut restored = String::with_capacity(18);
    for (block, sign) in short.as_bytes().chunks(5).zip(suffix.to_ascii_uppercase().bytes()) {
        let bits = SUFFIX.iter().position(|known| *known == sign)?;
        for (at, byte) in block.iter().enumerate() {
            let upper = bits & (1 << at) != 0;
            // A digit has no case: a suffix that says so is wrong.
            if upper && !byte.is_ascii_alphabetic() {
                return None;
            }
            restored.push(char::from(if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }));
        }
    }
    Some(restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_is_the_documented_one() {
        // From the vendor's help on 15 and 18 characters, and ids that are printed in its guides.
        for (short, long) in [
            ("001D000000IRt53", "001D000000IRt53IAD"),
            ("003D000000Q89kQ", "003D000000Q89kQIAR"),
            ("001R0000002GeJ1", "001R0000002GeJ1IAK"),
        ] {
            assert_eq!(normalize(short).as_deref(), Some(long));
            assert_eq!(normalize(long).as_deref(), Some(long));
            assert_eq!(normalize(&long.to_lowercase()).as_deref(), Some(long), "the suffix restores the case");
        }
    }

    #[test]
    fn fifteen_characters_without_their_case_are_another_id() {
        assert_ne!(normalize("001d000000irt53"), normalize("001D000000IRt53"));
        for wrong in
            ["", "001D000000IRt5", "001D000000IRt53IA", "001D000000IRt53-", "001D000000IRt5é", "111111111111111ZZZ"]
        {
            assert_eq!(normalize(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn generated_ids_are_valid_and_ascend() {
        let ids: Vec<String> = [0, 1, 61, 62, 3_843, 3_844, 1_000_000].map(|number| generate("001", number)).to_vec();
        assert!(ids.is_sorted(), "{ids:?}");
        for id in ids {
            assert_eq!((id.len(), normalize(&id)), (18, Some(id.clone())));
        }
    }
}
