//! What the functions in Rust cost. The engine of workflows counts operations and lets others have their turn; it says
//! here how. Without it nothing is counted.

use std::sync::OnceLock;

use rhai::EvalAltResult;

type Thrown = Box<EvalAltResult>;

/// Counts so many operations. Others may get their turn in between; an error ends the script.
pub type Spend = fn(usize) -> Result<(), Thrown>;

static SPEND: OnceLock<Spend> = OnceLock::new();

/// Bytes of text that are worked on in one operation.
const BYTES: usize = 64;

/// Bytes after which operations are counted.
const STRIDE: usize = 1 << 14;

/// Has the functions of the library count with this, on all threads of the process. The first one stays.
pub fn count_with(spend: Spend) {
    SPEND.get_or_init(|| spend);
}

pub(crate) fn spend(operations: usize) -> Result<(), Thrown> {
    match SPEND.get() {
        Some(spend) if operations > 0 => spend(operations),
        _ => Ok(()),
    }
}

/// A text of so many bytes is read.
pub(crate) fn read(bytes: usize) -> Result<(), Thrown> {
    spend(bytes / BYTES)
}

/// Counts what a loop does as it goes on, so that it gives way in the middle.
#[derive(Default)]
pub(crate) struct Work(usize);

impl Work {
    /// So many bytes were read, written or looked through.
    #[inline]
    pub fn done(&mut self, bytes: usize) -> Result<(), Thrown> {
        self.0 += bytes;
        if self.0 < STRIDE {
            return Ok(());
        }
        let operations = self.0 / BYTES;
        self.0 %= BYTES;
        spend(operations)
    }
}
