//! What a script's `catch` is given for an error of the script itself.

use durhai_core::{Failure, FailureKind};
use durhai_stdlib::words;
use rhai::{Dynamic, EvalAltResult};

use crate::errors::diagnostic;
use crate::errors::thrown::failure_to_map;
use crate::run::current;
use crate::values::convert::Budget;

/// What a `catch` is given for an error of the script itself. `file` is the text the `try` stands in, as Rhai knows it.
pub fn caught(file: &str, error: &EvalAltResult) -> Dynamic {
    let told = current::with(|state| {
        let texts = state.program.texts();
        let file = if file.is_empty() { texts.main() } else { file };
        diagnostic::failure(error, file, texts, None, Budget::from(state.replay.limits()))
    });
    // Without a run a module is being loaded.
    let failure = told.unwrap_or_else(|| Failure::new(FailureKind::Script, words::plain(error.unwrap_inner())));
    failure_to_map(&failure).into()
}
