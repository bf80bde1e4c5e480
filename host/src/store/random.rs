//! Names that only this host can have thought of.

use durhai_core::{Millis, RunId};
use durhai_world::WorldError;

/// A name of a run that no other run has.
pub(crate) fn run_id(now: Millis) -> Result<RunId, WorldError> {
    Ok(RunId::generate(now, bytes()?))
}

/// 128 bits that no sender of payloads can guess.
pub(crate) fn token() -> Result<String, WorldError> {
    Ok(bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A token that the host made: 128 bits. If a script named one like that itself, the log does not fit any more, and that is
/// found before anything is created.
pub(crate) fn is_token(token: &str) -> bool {
    token.len() == 32 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name of a host among those of its world.
pub(crate) fn host_name() -> Result<String, WorldError> {
    Ok(format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(bytes()?)))
}

fn bytes<const N: usize>() -> Result<[u8; N], WorldError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| WorldError::Unavailable(format!("no randomness: {error}")))?;
    Ok(bytes)
}
