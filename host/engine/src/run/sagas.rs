//! A saga of a run: the actions of its block that succeeded, and how to undo them.

use rhai::{Dynamic, FnPtr};

/// A saga whose block has begun and has not ended well.
#[derive(Default)]
pub struct Saga {
    pub phase: Phase,
    pub compensations: Vec<Compensation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Open,
    /// Compensations run.
    Undoing,
    Undone,
}

#[derive(Clone)]
/// How to undo an action.
pub struct Compensation {
    pub closure: FnPtr,
    /// What its action gave; none for `undo`.
    pub value: Option<Dynamic>,
}
