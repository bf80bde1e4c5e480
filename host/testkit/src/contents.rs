//! All that a world keeps, as bytes to look into. Its files say less: they may be compressed.

use durhai_world::{Record, World};

/// What was stored, one after the other: payloads as they are, names and rows as text.
///
/// # Panics
///
/// If the world cannot be read.
pub fn contents(world: &dyn World) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut take = |name: &str, value: &Option<Vec<u8>>| {
        bytes.extend(name.as_bytes());
        bytes.extend(value.iter().flatten());
        // What ends here does not go on in what follows.
        bytes.push(0);
    };
    let copied = world.copy(&mut |record| {
        match &record {
            Record::Meta { key: name, value }
            | Record::Entry { stream: name, value, .. }
            | Record::Value { name, value, .. }
            | Record::Hook { token: name, value, .. } => take(name, value),
            Record::Program { value, .. } | Record::Log { value, .. } | Record::Message { value, .. } => {
                take("", value)
            }
            Record::Unreadable { what, value, .. } => take(what, value),
            Record::Limit { .. }
            | Record::Run { .. }
            | Record::Tries { .. }
            | Record::Admission { .. }
            | Record::Taken { .. } => take(&format!("{record:?}"), &None),
        }
        Ok(())
    });
    copied.expect("the world can be read");
    bytes
}
