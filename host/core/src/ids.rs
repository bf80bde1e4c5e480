//! Names of things: a run, a durable call in it, a version of a script.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Millis;

/// A run's name: given by the caller that starts it, or made by [`RunId::generate`]. At most [`RunId::MAX`] bytes, of letters,
/// digits and `- _ . : / @ + =`, so that it can stand in a path, an address and a shell command as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Arc<str>);

impl RunId {
    /// The longest run id, in bytes.
    pub const MAX: usize = 128;

    /// Takes a name that a caller chose.
    pub fn new(name: impl AsRef<str>) -> Result<Self, BadId> {
        let name = name.as_ref();
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+=".contains(c);
        match name {
            "" => Err(BadId { id: name.into(), why: "it is empty" }),
            "." | ".." => Err(BadId { id: name.into(), why: "paths and addresses give it another meaning" }),
            _ if name.len() > Self::MAX => Err(BadId { id: name.into(), why: "it is longer than 128 bytes" }),
            _ if !name.chars().all(legal) => {
                Err(BadId { id: name.into(), why: "it may hold letters, digits and - _ . : / @ + = only" })
            }
            _ => Ok(RunId(name.into())),
        }
    }

    /// A new id that sorts by time, as a ULID does: 48 bits of milliseconds, 80 bits of `entropy`, in lower-case
    /// Crockford base 32 (26 characters).
    pub fn generate(now: Millis, entropy: [u8; 10]) -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut bits = u128::from(now & 0xffff_ffff_ffff) << 80;
        for (i, byte) in entropy.iter().enumerate() {
            bits |= u128::from(*byte) << (72 - 8 * i);
        }
        let text: String = (0..26).rev().map(|i| ALPHABET[(bits >> (5 * i)) as usize & 31] as char).collect();
        RunId(text.into())
    }

    /// The id of the run that a call of this one starts: `order-42:3`.
    pub fn child(&self, call: &StepId) -> Self {
        self.derived(&format!(":{call}"))
    }

    /// The id of a run that continues this one, which is the first of its chain: `order-42+2`.
    pub fn successor(&self, number: u64) -> Self {
        self.derived(&format!("+{number}"))
    }

    /// The id of the run that tries this one again, as the attempt of that number: `order-42@2`.
    pub fn retried(&self, attempt: u32) -> Self {
        self.derived(&format!("@{attempt}"))
    }

    /// The same, where that name is taken by a run that has nothing to do with it: `order-42@2.1`.
    pub fn retried_aside(&self, attempt: u32, number: u32) -> Self {
        self.derived(&format!("@{attempt}.{number}"))
    }

    /// A name that would be too long is shortened to a digest, which is as stable.
    fn derived(&self, tail: &str) -> Self {
        let name = format!("{}{tail}", self.0);
        if name.len() <= Self::MAX {
            return RunId(name.into());
        }
        let digest = Sha256::digest(self.0.as_bytes());
        let short: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        match tail.len() + short.len() <= Self::MAX {
            true => RunId(format!("{short}{tail}").into()),
            false => {
                let digest = Sha256::digest(name.as_bytes());
                RunId(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
            }
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a name cannot be a run's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id:?} cannot be the id of a run: {why}")]
pub struct BadId {
    pub id: String,
    pub why: &'static str,
}

impl TryFrom<String> for RunId {
    type Error = BadId;
    fn try_from(name: String) -> Result<Self, BadId> {
        RunId::new(name)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0.to_string()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The place of a durable call in its run: its ordinal in its task (`4`); inside a task that the call `4` opened, the
/// task's number and the ordinal there (`4.1.2`). It does not depend on timing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

impl StepId {
    /// Reads `4` or `4.1.2`: decimal numbers from 1, separated by dots, an odd count of them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = 0;
        for part in text.split('.') {
            let number: u32 = part.parse().ok()?;
            if number == 0 || part.starts_with(['0', '+']) {
                return None;
            }
            parts += 1;
        }
        (parts % 2 == 1).then(|| StepId(text.into()))
    }

    pub(crate) fn make(task: &str, ordinal: u32) -> Self {
        if task.is_empty() { StepId(ordinal.to_string().into()) } else { StepId(format!("{task}.{ordinal}").into()) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the task that made this call: empty for the body of the workflow, `4.1` for the call `4.1.2`.
    pub fn task(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(task, _)| task)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digest of a script, all it imports and the version of the standard library: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(Arc<str>);

impl Version {
    /// Digests named parts; the order they come in counts, so hand them over sorted.
    pub fn of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = Sha256::new();
        for (name, text) in parts {
            for field in [name, text] {
                hash.update((field.len() as u64).to_be_bytes());
                hash.update(field.as_bytes());
            }
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Version(hex.into())
    }

    /// Takes a digest that was written down before.
    pub fn from_digest(hex: &str) -> Self {
        Version(hex.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits: enough for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time() {
        let early = RunId::generate(1_700_000_000_000, [255; 10]);
        let late = RunId::generate(1_700_000_000_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 26);
        assert_eq!(RunId::new(early.as_str()), Ok(early));
    }

    #[test]
    fn run_ids_that_cannot_be() {
        for bad in ["", ".", "..", "a b", "ümlaut", "a\nb", &"x".repeat(129)] {
            assert!(RunId::new(bad).is_err(), "{bad:?}");
        }
        assert!(RunId::new("tenant/order-42:a@b").is_ok());
    }

    #[test]
    fn derived_ids_are_legal_whatever_they_come_from() {
        let call = StepId::parse("4.1.2").expect("a step id");
        let short = RunId::new("order-42").expect("legal");
        assert_eq!(short.child(&call).as_str(), "order-42:4.1.2");
        assert_eq!(short.successor(2).as_str(), "order-42+2");
        assert_eq!(short.retried(2).as_str(), "order-42@2");
        assert_eq!(short.retried_aside(2, 1).as_str(), "order-42@2.1");
        let long = RunId::new("x".repeat(128)).expect("legal");
        let deep = StepId::parse(&["7"; 99].join(".")).expect("a step id");
        for id in [long.child(&call), long.successor(9), long.retried(9), short.child(&deep), long.child(&deep)] {
            assert_eq!(RunId::new(id.as_str()), Ok(id.clone()), "{id}");
        }
        assert_ne!(long.child(&call), RunId::new("y".repeat(128)).expect("legal").child(&call));
    }

    #[test]
    fn step_ids_know_their_task() {
        for (text, task) in [("4", ""), ("4.1.2", "4.1"), ("4.1.2.3.1", "4.1.2.3")] {
            assert_eq!(StepId::parse(text).expect(text).task(), task);
        }
        for bad in ["", "0", "4.1", "a", "4..1", "04", "-1", "+4"] {
            assert_eq!(StepId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn versions_keep_names_and_texts_apart() {
        assert_ne!(Version::of([("a", "bc")]), Version::of([("ab", "c")]));
        assert_eq!(Version::of([("a", "b")]).as_str().len(), 64);
    }
}
