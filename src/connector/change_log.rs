//! What the SQL connectors share about change tables, identifiers and lists of them. Their SQL is their own.

use sha2::{Digest, Sha256};

/// The most bytes of an identifier that every SQL system takes.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Quotes an identifier as the SQL standard says.
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// `tidelock_<role>_<collection>`, made unique by a digest where it would be too long.
pub fn tracking_name(role: &str, collection: &str) -> String {
    let name = format!("tidelock_{role}_{collection}");
    if name.len() <= IDENTIFIER_BYTES_MAX {
        return name;
    }
    let digest = Sha256::digest(collection.as_bytes());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("tidelock_{role}_{short}")
}

/// `a, b, c`.
pub fn list(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join(", ")
}

/// `a AND b AND c`.
pub fn all(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_within_63_bytes_and_differ() {
        let (a, b) = (tracking_name("changes", &"a".repeat(80)), tracking_name("changes", &"b".repeat(80)));
        assert!(a.len() <= IDENTIFIER_BYTES_MAX);
        assert_ne!(a, b);
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
    }
}
