//! A log under a text: opened, run to its end, and judged. All that runs a log again stands on this: taking a run up, moving
//! it, checking an edit against it, replaying, forking and retrying it.

use std::sync::Arc;

use durhai_core::replay::{Divergence, Limits};
use durhai_core::{Event, Replay, Version};
use durhai_engine::{Bundle, Execution, Program, Sandbox, Yield};

use crate::error::Unready;

/// The program of a version. That it does not compile here is for an operator: it did where it served.
pub(crate) fn compile(sandbox: &Sandbox, version: &Version, bundle: &Bundle) -> Result<Program, Unready> {
    sandbox.compile(bundle).map_err(|diagnostics| {
        let all: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
        Unready::Wrong(format!("the script of version {} does not compile here: {}", version.short(), all.join("\n")))
    })
}

/// What a log says, before any of it is run.
pub(crate) fn open(log: Vec<Event>, limits: &Arc<Limits>) -> Result<Replay, Unready> {
    Replay::new(log, limits.clone()).map_err(|error| Unready::Wrong(format!("damaged log: {error}")))
}

/// Runs a script until it stands where its log ends, for a run that goes on from there: what it shows beyond that is kept.
/// [`Yield::Preempted`] if `stop` said so before.
pub(crate) fn to_the_end(exec: &mut Execution, sandbox: &Sandbox, stop: &dyn Fn() -> bool) -> Yield {
    loop {
        match exec.turn(sandbox, stop) {
            Yield::Full if !exec.replay().is_live() => exec.replay_mut().drop_outputs(),
            Yield::Preempted if !stop() => {}
            why => return why,
        }
    }
}

/// Puts the lines of the scripts into what differs: `asked` gives those of the text that was run, `recorded` those of the
/// version that made the log at that place.
pub(crate) fn add_lines(
    divergence: &mut Divergence,
    replay: &Replay,
    asked: &dyn Fn(&str) -> String,
    recorded: &dyn Fn(&Version, &str) -> String,
) {
    if let Some(side) = &mut divergence.recorded {
        side.source = recorded(replay.version_at(divergence.seq), &side.site);
    }
    if let Some(side) = &mut divergence.asked {
        side.source = asked(&side.site);
    }
}
