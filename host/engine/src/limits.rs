//! How sandboxes are made: what scripts may take, and what an embedder adds to the language.

use std::sync::Arc;

use durhai_stdlib::language::Limits;
use rhai::Engine;

use crate::meter::{Pool, ScriptMemory};

/// Limits of the language, the same in debug and release builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Operations between two durable calls of a task.
    pub operations: u64,
    /// Levels of function calls, those through closures, `map` and tasks included.
    pub call_levels: usize,
    /// Levels of nesting in an expression or statement of the text.
    pub expression_depth: usize,
    /// Bytes of strings in one value, all that is nested in it included.
    pub string: usize,
    /// Elements of arrays in one value, all that is nested in it included. A larger limit takes larger stacks: see
    /// `RESERVE` in `fiber.rs`.
    pub array: usize,
    /// Entries of maps in one value, likewise.
    pub map: usize,
    /// Variables in scope at a time.
    pub variables: usize,
    /// Functions and closures in one file.
    pub functions: usize,
    /// Imports that are evaluated.
    pub modules: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        ScriptLimits {
            operations: 200_000_000,
            call_levels: 64,
            expression_depth: 64,
            string: 8 << 20,
            array: 100_000,
            map: 100_000,
            variables: 1_000,
            functions: 2_000,
            modules: 256,
        }
    }
}

impl ScriptLimits {
    /// Those that Rhai keeps. Operations are counted by `operations::progress`: Rhai starts its count anew in each callback.
    pub(crate) fn of_language(&self) -> Limits {
        Limits {
            call_levels: self.call_levels,
            expression_depth: self.expression_depth,
            string: self.string,
            array: self.array,
            map: self.map,
            variables: self.variables,
            functions: self.functions,
            modules: self.modules,
        }
    }
}

/// Adds pure functions to the engine. It must not add effects, clocks or randomness: a replay would see other results.
pub type Extension = Arc<dyn Fn(&mut Engine) + Send + Sync>;

/// How sandboxes are made; the same for every thread of a host.
#[derive(Clone, Default)]
pub struct SandboxConfig {
    pub limits: ScriptLimits,
    pub extend: Vec<Extension>,
    /// Memory of the scripts, where a [`CountingAllocator`](crate::CountingAllocator) counts it.
    pub memory: ScriptMemory,
    /// What counts for the budget of all.
    pub pool: Arc<Pool>,
}
