//! The branches that one durable call opened: the closures they run, and what those returned until the call collects it.

use std::rc::Rc;

use durhai_core::Failure;
#[allow(deprecated)] // Rhai marks what may change between its versions that way.
use rhai::NativeCallContextStore;
use rhai::{Array, Dynamic, FnPtr};

/// Branches that were opened by one call.
#[allow(deprecated)]
pub struct Group {
    pub work: Work,
    pub results: Vec<Option<Result<Dynamic, Failure>>>,
    /// The surroundings of the call, in which the closures run.
    pub context: Rc<NativeCallContextStore>,
}

/// What the branches do.
pub enum Work {
    Closures(Vec<FnPtr>),
    /// The closure takes the item, and its index too if `indexed`.
    Items {
        closure: FnPtr,
        items: Array,
        indexed: bool,
    },
}

impl Group {
    pub fn set_result(&mut self, index: usize, result: Result<Dynamic, Failure>) {
        if let Some(slot) = self.results.get_mut(index) {
            *slot = Some(result);
        }
    }

    pub fn size(&self) -> usize {
        self.results.len()
    }

    /// The result of branch `index`. One that was cancelled before it began has left none.
    pub fn result(&mut self, index: usize) -> Result<Dynamic, Failure> {
        let result = self.results.get_mut(index).and_then(Option::take);
        result.unwrap_or_else(|| Err(Failure::cancelled("it was cancelled before it began")))
    }
}
