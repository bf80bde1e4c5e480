//! W3C trace context: which trace a run belongs to, and the names of its spans.
//!
//! A run lives in several processes one after the other, so its ids are computed from its name, not drawn: each
//! host that holds it computes the same ones. The first bytes of SHA-256 of a word for what is named, and of the names, with a zero byte
//! between:
//!
//! | id | bytes | of |
//! |---|---|---|
//! | trace of a run that was started without a trace | 16 | `durhai trace`, run id |
//! | span of a run | 8 | `durhai run`, run id |
//! | span of an attempt | 8 | `durhai attempt`, run id, step id, attempt in decimal |

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{RunId, StepId};

/// A span in a trace, as `traceparent` names it: `00-<trace>-<span>-<flags>`, all in small hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    pub trace: TraceId,
    pub span: SpanId,
    /// Bit 0: it is recorded. The other bits are handed on as they came.
    pub flags: u8,
}

/// Never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// Never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

/// Why a text is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no traceparent: write 00-<32 hexadecimal digits>-<16>-<2>, small letters, neither id all zero")]
pub struct BadTraceparent(pub String);

impl TraceContext {
    /// The flag of a trace that is recorded.
    pub const SAMPLED: u8 = 1;

    /// Reads version 00, to the letter. Later versions are none: what they mean is not known here.
    pub fn parse(text: &str) -> Result<Self, BadTraceparent> {
        let bad = || BadTraceparent(text.chars().take(80).collect());
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or_else(bad);
        let (version, trace, span, flags) = (part()?, part()?, part()?, part()?);
        if version != "00" || parts.next().is_some() {
            return Err(bad());
        }
        let trace = bytes(trace).and_then(TraceId::new).ok_or_else(bad)?;
        let span = bytes(span).and_then(SpanId::new).ok_or_else(bad)?;
        let [flags] = bytes(flags).ok_or_else(bad)?;
        Ok(TraceContext { trace, span, flags })
    }

    /// The span of a run: in the trace of the caller that started it, or in one of its own, of which it is not said yet that it is
    /// recorded.
    pub fn of_run(run: &RunId, starter: Option<&TraceContext>) -> Self {
        let span = SpanId(digest("run", &[run.as_str()]));
        match starter {
            Some(starter) => TraceContext { span, ..*starter },
            None => TraceContext { trace: TraceId(digest("trace", &[run.as_str()])), span, flags: 0 },
        }
    }

    /// The span of an attempt, under that of its run, which is this one.
    #[must_use]
    pub fn of_attempt(&self, run: &RunId, step: &StepId, attempt: u32) -> Self {
        let span = SpanId(digest("attempt", &[run.as_str(), step.as_str(), &attempt.to_string()]));
        TraceContext { span, ..*self }
    }

    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }

    /// The same span, recorded or not.
    #[must_use]
    pub fn sampled(self, sampled: bool) -> Self {
        let others = self.flags & !Self::SAMPLED;
        TraceContext { flags: if sampled { others | Self::SAMPLED } else { others }, ..self }
    }
}

impl TraceId {
    /// `None` where all are zero: that is no id.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(TraceId(bytes))
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    /// `None` where all are zero: that is no id.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(SpanId(bytes))
    }

    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

fn digest<const N: usize>(what: &str, names: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new().chain_update("durhai ").chain_update(what);
    for name in names {
        hash = hash.chain_update([0]).chain_update(name);
    }
    let digest = hash.finalize();
    let mut first = [0; N];
    first.copy_from_slice(&digest[..N]);
    if first == [0; N] {
        // One in 2^64, but no id.
        first[N - 1] = 1;
    }
    first
}

/// Exactly so many bytes in small hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl TryFrom<String> for TraceContext {
    type Error = BadTraceparent;
    fn try_from(text: String) -> Result<Self, BadTraceparent> {
        TraceContext::parse(&text)
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> String {
        context.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";

    #[test]
    fn what_is_read_is_written_the_same() {
        let context = TraceContext::parse(STARTER).unwrap();
        assert_eq!((context.to_string().as_str(), context.flags, context.is_sampled()), (STARTER, 3, true));
        assert_eq!(context.sampled(false).flags, 2);
        assert_eq!(context.sampled(false).sampled(true), context);
        let json = serde_json::to_value(context).unwrap();
        assert_eq!(json, STARTER);
        assert_eq!(serde_json::from_value::<TraceContext>(json).unwrap(), context);
    }

    #[test]
    fn anything_else_is_refused() {
        let zero = "0".repeat(32);
        for bad in [
            "",
            "00",
            "garbage",
            // Another version, also one that would be read if it were followed by nothing.
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            // Capital letters, too short, too long, more behind it, spaces, no digits.
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033311-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333ü-01",
            &format!("00-{zero}-b7ad6b7169203331-01"),
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(bad).ok(), None, "{bad}");
        }
    }

    /// Hosts of all versions that hold one run must agree.
    #[test]
    fn ids_are_fixed() {
        let (run, step) = (RunId::new("order-42").unwrap(), StepId::parse("4.1.2").unwrap());
        let own = TraceContext::of_run(&run, None);
        assert_eq!(own.to_string(), OWN);
        assert_eq!(own.of_attempt(&run, &step, 1).to_string(), FIRST);
        assert_ne!(own.of_attempt(&run, &step, 2).span, own.of_attempt(&run, &step, 1).span);
        let starter = TraceContext::parse(STARTER).unwrap();
        let led = TraceContext::of_run(&run, Some(&starter));
        assert_eq!((led.trace, led.span, led.flags), (starter.trace, own.span, 3));
    }

    const OWN: &str = "00-9c8f6eb8e0cd9aa851b44966b947539b-7f4cf105800de21f-00";
    const FIRST: &str = "00-9c8f6eb8e0cd9aa851b44966b947539b-db9bd6c0bd54c476-00";
}
