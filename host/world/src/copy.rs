//! What a world has, taken out of it: some runs as they stand at one moment, and everything as records.

use durhai_core::{Millis, RunId, Version};
use serde::{Deserialize, Serialize};

use crate::{InboxMessage, Row};

/// How a run stands. What is before the end of its log and of its streams never changes, so that it can be read later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub row: Row,
    /// The sequence number of the last event in its log.
    pub last_seq: u64,
    /// Its streams by name, each with the number of its entries.
    pub streams: Vec<(String, u64)>,
    /// Its named values, by name.
    pub values: Vec<(String, Vec<u8>)>,
    /// The messages that wait for it, in order.
    pub messages: Vec<InboxMessage>,
    /// Its open hooks by token, each with what was given with it.
    pub hooks: Vec<(String, Vec<u8>)>,
}

/// One entry of a copy of a world, see [`World::copy`](crate::World::copy). `None` as a value: there is none any more,
/// whatever an earlier record said.
///
/// Runs go by number here: any that are different, in the order of creation. What has a number of which no
/// [`Run`](Record::Run) remains belongs to a run that was removed meanwhile, and counts as gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A named value of the host.
    Meta {
        key: String,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    Program {
        version: Version,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    /// The limit of a [`Concurrency`](crate::Concurrency) key.
    #[serde(rename = "gate")]
    Limit {
        key: String,
        value: Option<u32>,
    },
    Run {
        number: u64,
        value: Option<Box<Row>>,
    },
    /// How many holders died of it in a row; 0 where nothing says so.
    Tries {
        number: u64,
        value: u32,
    },
    /// How far it is with its [`Concurrency`](crate::Concurrency), in a run that has one; not arrived where nothing says so.
    #[serde(rename = "place")]
    Admission {
        number: u64,
        value: Admission,
    },
    /// The index of the last message it has dealt with; 0 where nothing says so.
    Taken {
        number: u64,
        value: u64,
    },
    /// A chunk of its log.
    Log {
        number: u64,
        first: u64,
        #[serde(default)]
        count: u32,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    #[serde(rename = "letter")]
    Message {
        number: u64,
        index: u64,
        #[serde(default)]
        at: Millis,
        /// Left out where it is not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        urgent: bool,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    /// An entry of a stream.
    Entry {
        number: u64,
        stream: String,
        index: u64,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    /// A named value of a run.
    Value {
        number: u64,
        name: String,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    /// An open hook of the run with that number.
    Hook {
        token: String,
        #[serde(default)]
        number: u64,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
    /// Something that is stored and cannot be read: damage. It is not restored.
    Unreadable {
        /// The run it belongs to, where that can be told.
        number: Option<u64>,
        what: String,
        #[serde(with = "bytes")]
        key: Option<Vec<u8>>,
        #[serde(with = "bytes")]
        value: Option<Vec<u8>>,
    },
}

/// How far a run is with its [`Concurrency`](crate::Concurrency).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Not counted yet.
    #[serde(rename = "away")]
    NotArrived,
    Waiting,
    /// Also all that have no [`Concurrency`](crate::Concurrency).
    #[serde(rename = "inside")]
    Admitted,
}

impl Record {
    /// The number of the run it belongs to.
    pub fn number(&self) -> Option<u64> {
        match self {
            Record::Run { number, .. }
            | Record::Tries { number, .. }
            | Record::Admission { number, .. }
            | Record::Taken { number, .. }
            | Record::Log { number, .. }
            | Record::Message { number, .. }
            | Record::Entry { number, .. }
            | Record::Value { number, .. }
            | Record::Hook { number, .. } => Some(*number),
            Record::Unreadable { number, .. } => *number,
            Record::Meta { .. } | Record::Program { .. } | Record::Limit { .. } => None,
        }
    }

    /// The id of the run, in the record that has it.
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Record::Run { value: Some(row), .. } => Some(&row.run),
            _ => None,
        }
    }
}

/// Bytes in JSON: a text where they are one, `{ "hex": "…" }` where they are not.
mod bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Hex { hex: String },
    }

    pub fn serialize<S: Serializer>(value: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        let written = value.as_ref().map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Written::Text(text.to_owned()),
            Err(_) => Written::Hex { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        });
        written.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        match Option::<Written>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Written::Text(text)) => Ok(Some(text.into_bytes())),
            Some(Written::Hex { hex }) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let pair = |pair: &[u8]| match pair {
                    [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
                    _ => None,
                };
                let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(pair).collect();
                bytes.map(Some).ok_or_else(|| de::Error::custom("these are no hexadecimal digits"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_json_whatever_is_in_them() {
        for value in [None, Some(b"text \x01 \"quoted\"\n".to_vec()), Some(vec![0, 0xff, 0x10]), Some(Vec::new())] {
            let records = [
                Record::Entry { number: 3, stream: "out/x".into(), index: 7, value: value.clone() },
                Record::Message { number: u64::MAX, index: 1, at: 5, urgent: false, value: value.clone() },
                Record::Message { number: 1, index: 2, at: 5, urgent: true, value: value.clone() },
                Record::Unreadable { number: None, what: "x".into(), key: Some(vec![0xfe]), value },
            ];
            for record in records {
                let json = serde_json::to_string(&record).expect("JSON");
                assert!(!json.contains('\n'), "{json}");
                assert_eq!(serde_json::from_str::<Record>(&json).expect("a record"), record, "{json}");
            }
        }
    }
}
