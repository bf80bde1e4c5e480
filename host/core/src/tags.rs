//! Tags: words that a run is found by. What is not told in few words belongs into its input or its state.

use std::collections::BTreeMap;

/// Tags that one run can have.
pub const MOST: usize = 32;

/// Bytes of a key.
pub const KEY: usize = 64;

/// Bytes of a value.
pub const VALUE: usize = 256;

/// Holds tags to their limits. The message says what was found and what the limit is.
pub fn check(tags: &BTreeMap<String, String>) -> Result<(), String> {
    if tags.len() > MOST {
        return Err(format!("{} tags are given; a run can have {MOST}", tags.len()));
    }
    for (key, value) in tags {
        let shown: String = key.chars().take(KEY).collect();
        if key.len() > KEY {
            return Err(format!("the key of the tag `{shown}…` has {} bytes; it can have {KEY}", key.len()));
        }
        if value.len() > VALUE {
            return Err(format!("the value of the tag `{key}` has {} bytes; it can have {VALUE}", value.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named() {
        let tag = |key: usize, value: usize| BTreeMap::from([("k".repeat(key), "v".repeat(value))]);
        let many = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
        for (tags, part) in [
            (tag(KEY, VALUE), None),
            (many(MOST), None),
            (BTreeMap::new(), None),
            (many(MOST + 1), Some("33 tags are given; a run can have 32")),
            (tag(KEY + 1, 1), Some("has 65 bytes; it can have 64")),
            (tag(1, VALUE + 1), Some("the value of the tag `k` has 257 bytes; it can have 256")),
        ] {
            assert_eq!(check(&tags).err().as_deref().is_some(), part.is_some(), "{tags:?}");
            if let (Err(why), Some(part)) = (check(&tags), part) {
                assert!(why.contains(part), "{why}");
            }
        }
    }
}
