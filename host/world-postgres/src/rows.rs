//! Rows of runs as columns and JSON, and back.

use std::collections::BTreeMap;

use durhai_core::{Millis, RunId, Status, Version};
use durhai_world::{Concurrency, Row, WorldError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::names::Names;
use crate::text::{column, escaped, moment, number, unescaped};

/// As `run.status` has it. The numbers are part of the layout.
pub fn status_column(status: Status) -> i16 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Waiting => 2,
        Status::Suspended => 3,
        Status::Completed => 4,
        Status::Failed => 5,
        Status::Cancelled => 6,
        Status::Continued => 7,
        Status::Parked => 8,
    }
}

pub fn status_of(column: i16) -> Result<Status, WorldError> {
    let found = Status::ALL.into_iter().find(|status| status_column(*status) == column);
    found.ok_or_else(|| WorldError::Corrupt(format!("the number {column} stands for no status")))
}

/// What one finds runs by that have this tag.
pub fn term(key: &str, value: &str) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update((key.len() as u64).to_be_bytes());
    digest.update(key);
    digest.update(value);
    digest.finalize()[..16].to_vec()
}

/// What has no column of its own.
#[derive(Default, Serialize, Deserialize)]
struct Rest {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    note: Value,
    /// Moments that are more than a column holds, and not the largest there is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    exact: BTreeMap<String, Millis>,
}

/// A row for the functions that write it. Its concurrency counts in a new run only.
pub fn to_json(row: &Row, names: &Names) -> Result<Value, WorldError> {
    let moments = [
        ("created_at", Some(row.created_at)),
        ("started_at", row.started_at),
        ("ended_at", row.ended_at),
        ("wake_at", row.wake_at),
        ("purge_at", row.purge_at),
    ];
    let inexact = |at: &Millis| moment(column(*at)) != *at;
    let exact = moments.iter().filter_map(|(name, at)| Some(((*name).to_owned(), at.filter(inexact)?))).collect();
    let rest = Rest { tags: row.tags.clone(), note: row.note.clone(), exact };
    let mut made = json!({
        "id": row.run.as_str(),
        "workflow": names.of(&row.workflow)?,
        "version": names.of(row.version.as_str())?,
        "status": status_column(row.status),
    });
    let fields = made.as_object_mut().expect("it is an object");
    for (name, at) in moments {
        if let Some(at) = at {
            fields.insert(name.into(), column(at).into());
        }
    }
    if let Some(parent) = &row.parent {
        fields.insert("parent".into(), parent.as_str().into());
    }
    if let Some(concurrency) = &row.concurrency {
        fields.insert("limit_key".into(), escaped(&concurrency.key).into());
        fields.insert("limit_size".into(), concurrency.limit.into());
        fields.insert("rank".into(), (-i64::from(concurrency.priority)).into());
    }
    if !rest.tags.is_empty() || !rest.note.is_null() || !rest.exact.is_empty() {
        let rest =
            serde_json::to_string(&rest).map_err(|error| WorldError::Invalid(format!("a row is no JSON: {error}")))?;
        fields.insert("rest".into(), rest.into());
        let terms = row.tags.iter().map(|(key, value)| hex(&term(key, value)));
        fields.insert("terms".into(), terms.collect());
    }
    Ok(made)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row as the function `row_1` gives it.
pub fn from_json(value: &Value) -> Result<Row, WorldError> {
    let wrong = |what: &str| WorldError::Corrupt(format!("the row {value} has no {what}"));
    let text = |name: &str| value[name].as_str().map(unescaped);
    let whole = |name: &str| value[name].as_i64();
    let run = |name: &str| text(name).map(|id| RunId::new(id).map_err(|_| wrong(name))).transpose();
    let rest = match value["rest"].as_str() {
        Some(rest) => serde_json::from_str(rest).map_err(|_| wrong("rest that can be read"))?,
        None => Rest::default(),
    };
    let at = |name: &str| whole(name).map(|at| rest.exact.get(name).copied().unwrap_or_else(|| moment(at)));
    let concurrency = match (text("limit_key"), whole("limit_size"), whole("rank")) {
        (Some(key), Some(size), Some(rank)) => Some(Concurrency {
            key,
            limit: u32::try_from(size).unwrap_or(u32::MAX),
            priority: i32::try_from(-rank).map_err(|_| wrong("rank that is one"))?,
        }),
        _ => None,
    };
    let status = whole("status").and_then(|status| i16::try_from(status).ok()).ok_or_else(|| wrong("status"))?;
    Ok(Row {
        run: run("id")?.ok_or_else(|| wrong("id"))?,
        workflow: text("workflow").ok_or_else(|| wrong("workflow"))?,
        version: version(&text("version").ok_or_else(|| wrong("version"))?),
        status: status_of(status)?,
        parent: run("parent")?,
        created_at: at("created_at").ok_or_else(|| wrong("created_at"))?,
        started_at: at("started_at"),
        ended_at: at("ended_at"),
        wake_at: at("wake_at"),
        purge_at: at("purge_at"),
        tags: rest.tags,
        note: rest.note,
        concurrency,
    })
}

pub fn version(digest: &str) -> Version {
    Version::from_digest(digest)
}

/// An index, a fence or a count in an answer.
pub fn whole(value: &Value) -> Result<u64, WorldError> {
    value.as_i64().map(number).ok_or_else(|| WorldError::Corrupt(format!("found {value}, expected a number")))
}
