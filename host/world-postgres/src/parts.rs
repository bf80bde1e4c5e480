//! The writes that come in, cut into batches; and those among them that no database takes.

use durhai_core::RunId;
use durhai_world::{Commit, Create, HookChange, Row, Write};

use crate::text::escaped;

/// Bytes of a name, as a column has it: an index of PostgreSQL holds entries of up to 2 704 bytes.
const NAME: usize = 2_000;

/// Bytes of one statement, about. Larger ones would take long on a slow network, and the longer, the more there is to do again.
const BYTES: usize = 8 << 20;

/// Bytes of one write. PostgreSQL takes no message of a gigabyte, and ends the connection of one who sends it.
const LARGEST: usize = 256 << 20;

/// Writes that follow each other.
pub enum Part {
    /// They are sent together.
    Batch(Vec<Write>),
    /// One that is not sent: the database would refuse it, and all that come with it.
    Refused(Box<Write>, String),
}

/// Writes cut into batches that are sent one after the other.
pub fn parts(writes: Vec<Write>) -> Vec<Part> {
    let (mut parts, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    let send = |batch: &mut Vec<Write>, parts: &mut Vec<Part>| {
        if !batch.is_empty() {
            parts.push(Part::Batch(std::mem::take(batch)));
        }
    };
    for write in writes {
        let size = size(&write);
        if let Some(why) = too_large(&write, size) {
            send(&mut batch, &mut parts);
            bytes = 0;
            parts.push(Part::Refused(Box::new(write), why));
            continue;
        }
        if bytes + size > BYTES {
            send(&mut batch, &mut parts);
            bytes = 0;
        }
        bytes += size;
        batch.push(write);
    }
    send(&mut batch, &mut parts);
    parts
}

/// The run that a write is for.
pub fn run_of(write: &Write) -> &RunId {
    match write {
        Write::Commit(commit) => &commit.run,
        Write::Create(create) => &create.row.run,
        Write::Send(message) => &message.run,
        Write::Release { run, .. } | Write::Delete { run } => run,
    }
}

fn size(write: &Write) -> usize {
    let own = match write {
        Write::Commit(commit) => {
            commit.events.as_ref().map_or(0, |chunk| chunk.bytes.len())
                + commit.append.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
                + commit.values.iter().filter_map(|(_, bytes)| Some(bytes.as_ref()?.len())).sum::<usize>()
                + commit.meta.iter().filter_map(|(_, bytes)| Some(bytes.as_ref()?.len())).sum::<usize>()
                + commit.send.iter().map(|message| message.bytes.len()).sum::<usize>()
        }
        Write::Send(message) => message.bytes.len(),
        Write::Create(_) | Write::Release { .. } | Write::Delete { .. } => 0,
    };
    let created = |create: &Create| create.events.bytes.len() + create.messages.iter().map(Vec::len).sum::<usize>();
    own + write.creates().iter().map(created).sum::<usize>()
}

/// Why no database takes this write, if none does.
fn too_large(write: &Write, size: usize) -> Option<String> {
    if size > LARGEST {
        return Some(format!("it has {size} bytes, expected at most {LARGEST}"));
    }
    let long = |name: &str| name.len() > NAME / 2 && escaped(name).len() > NAME;
    let name = names(write).into_iter().find(|name| long(name))?;
    let start: String = name.chars().take(40).collect();
    Some(format!("the name {start:?}… has {} bytes, expected at most {NAME}", name.len()))
}

/// The names in a write that an index of the database holds, but for those that are limited before.
fn names(write: &Write) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    if let Write::Commit(commit) = write {
        let Commit { row, append, values, hooks, leave, meta, .. } = &**commit;
        names.extend(append.iter().map(|(stream, _)| &**stream));
        names.extend(values.iter().map(|(name, _)| &**name));
        names.extend(meta.iter().map(|(key, _)| key.as_str()));
        names.extend(hooks.iter().map(|(HookChange::Open { token, .. } | HookChange::Close { token })| &**token));
        names.extend(row.iter().flat_map(in_row));
        // Nothing comes of it otherwise.
        let ends = row.as_ref().is_some_and(|row| row.status.is_terminal());
        names.extend(leave.as_deref().filter(|_| ends));
    }
    for create in write.creates() {
        names.extend(in_row(&create.row));
        names.extend(create.hooks.iter().map(|(token, _)| &**token));
    }
    names
}

fn in_row(row: &Row) -> impl Iterator<Item = &str> {
    let limit = row.concurrency.as_ref().map(|concurrency| concurrency.key.as_str());
    [row.workflow.as_str(), row.version.as_str()].into_iter().chain(limit)
}
