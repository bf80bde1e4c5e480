//! The lines of an exported run. `host/docs/export.md` describes them.

use std::collections::BTreeMap;

use durhai_core::{Millis, RunId, Value, Version};
use durhai_engine::Bundle;
use durhai_world::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lines::hex;

/// The number of this format.
pub(crate) const FORMAT: u64 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// The format: 1.
    pub durhai_export: u64,
    /// The run that was asked for.
    pub run: RunId,
    /// When it was exported.
    pub at: Millis,
    /// The version of durhai that wrote it.
    pub durhai: String,
    /// Whether the runs it started came along.
    #[serde(default)]
    pub children: bool,
    /// Whether the tokens of hooks are the real ones.
    #[serde(default)]
    pub tokens: bool,
}

/// Every other line, but for events, which stand as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    Text(TextLine),
    /// What follows belongs to this run.
    Run {
        row: Box<Row>,
        /// How many events follow.
        events: u64,
    },
    Log {
        index: u64,
        line: Value,
    },
    Output {
        stream: String,
        index: u64,
        entry: Value,
    },
    State {
        key: String,
        value: Value,
    },
    /// Another stream of the run, that this version does not know the meaning of.
    Entry {
        stream: String,
        index: u64,
        text: String,
    },
    /// Another named value.
    Value {
        name: String,
        text: String,
    },
    /// An open hook.
    Hook {
        token: String,
        info: String,
    },
    /// What was sent to it and not yet read.
    Letter {
        at: Millis,
        message: Value,
    },
    End {},
}

/// The texts of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TextLine {
    pub version: Version,
    /// They were not in the store.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
    #[serde(flatten)]
    pub texts: Option<Texts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Texts {
    pub workflow: String,
    pub source: String,
    #[serde(default)]
    pub modules: BTreeMap<String, String>,
    /// The version of the standard library that the digest is over, where it is the writer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<String>,
    /// How the texts are read; the first edition has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<u32>,
    /// Over the texts themselves.
    pub sha256: String,
}

impl Texts {
    pub fn new(version: &Version, bundle: Bundle) -> Self {
        let std = (bundle.version() == *version).then(|| Bundle::STD.to_owned());
        let sha256 = digest(&bundle);
        let edition = (bundle.edition > 1).then_some(bundle.edition);
        Texts { workflow: bundle.name, source: bundle.source, modules: bundle.modules, std, edition, sha256 }
    }

    /// What was read, if it is what was written.
    pub fn bundle(self, version: &Version) -> Result<Bundle, String> {
        let Texts { workflow, source, modules, std, edition, sha256 } = self;
        let bundle = Bundle { name: workflow, source, modules, edition: edition.unwrap_or(1) };
        let found = digest(&bundle);
        if found != sha256 {
            return Err(format!(
                "the text of version {} is not the one that was written: its SHA-256 is {found}, it should be {sha256}",
                version.short()
            ));
        }
        match std.map(|std| bundle.version_with(&std)) {
            Some(found) if found != *version => Err(format!(
                "the text of version {} has the digest {}: it is another version's",
                version.short(),
                found.short()
            )),
            _ => Ok(bundle),
        }
    }
}

fn digest(bundle: &Bundle) -> String {
    let mut hash = Sha256::new();
    let main = std::iter::once((bundle.name.as_str(), bundle.source.as_str()));
    for (name, text) in main.chain(bundle.modules.iter().map(|(name, text)| (name.as_str(), text.as_str()))) {
        for field in [name, text] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field.as_bytes());
        }
    }
    hex(&hash.finalize())
}
