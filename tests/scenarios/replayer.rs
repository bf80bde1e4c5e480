//! Replays logs without a host.

use std::collections::BTreeMap;
use std::rc::Rc;

use durhai::{Event, EventBody, Limits};
use durhai_core::Replay;
use durhai_core::replay::Verdict;
use durhai_engine::{Bundle, Execution, Program, Sandbox, SandboxConfig, Yield};

use super::show;

/// One for each workflow of a scenario.
pub struct Replayers(BTreeMap<String, Replayer>);

impl Replayers {
    pub fn new(scripts: &BTreeMap<String, String>) -> Self {
        Replayers(scripts.iter().map(|(name, script)| (name.clone(), Replayer::new(name, script))).collect())
    }

    pub fn of(&self, workflow: &str) -> &Replayer {
        self.0.get(workflow).unwrap_or_else(|| panic!("the scenario has no workflow {workflow:?}"))
    }
}

pub struct Replayer {
    sandbox: Sandbox,
    program: Rc<Program>,
}

impl Replayer {
    pub fn new(name: &str, script: &str) -> Self {
        Replayer::try_new(name, script).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    pub fn try_new(name: &str, script: &str) -> Result<Self, String> {
        Replayer::of_edition(Bundle::EDITION, name, script)
    }

    /// One that reads the script as it was read when the log was written.
    pub fn of_edition(edition: u32, name: &str, script: &str) -> Result<Self, String> {
        let first = |wrong: Vec<durhai_engine::Diagnostic>| wrong[0].to_string();
        let sandbox = Sandbox::new(&SandboxConfig::default());
        let bundle = Bundle::gather(name, script, &mut |_| None).map_err(first)?;
        let program = Rc::new(sandbox.compile(&Bundle { edition, ..bundle }).map_err(first)?);
        Ok(Replayer { sandbox, program })
    }

    /// A run as its log leaves it.
    pub fn replay(&self, log: Vec<Event>) -> Execution {
        let replay = Replay::new(log, Limits::default()).unwrap_or_else(|bad| panic!("{bad}"));
        let mut execution = Execution::new(self.program.clone(), replay);
        while execution.turn(&self.sandbox, &|| false) == Yield::Preempted {}
        execution
    }

    /// Every prefix of a log replays, and what the script asks for at its end is what is recorded behind it.
    pub fn every_prefix(&self, log: &[Event], what: &str) {
        for cut in 1..=log.len() {
            let mut execution = self.replay(log[..cut].to_vec());
            if let Some(Verdict::Diverged(divergence)) = execution.replay().verdict() {
                panic!("{what}: the first {cut} events of {} diverge: {divergence}", log.len());
            }
            let new = execution.replay_mut().take();
            // That another run or another text goes on with the log may stand in between.
            let goes_on = |body: &EventBody| {
                matches!(body, EventBody::RunStarted { again: Some(_) } | EventBody::RunMigrated { .. })
            };
            let next = log[cut..].iter().take_while(|event| event.body.is_asked() || goes_on(&event.body));
            let next: Vec<_> = next.filter(|event| event.body.is_asked()).collect();
            let (ends, next): (Vec<_>, Vec<_>) = next.into_iter().partition(|event| event.body.is_terminal());
            let (new_ends, new): (Vec<_>, Vec<_>) = new.events.iter().partition(|event| event.body.is_terminal());
            let words = |events: &[&Event]| events.iter().map(|event| show::short(event)).collect::<Vec<_>>();
            assert_eq!(words(&new), words(&next), "{what}: after the first {cut} events");
            // An end may also come from outside (an operator, the grace period).
            if !new_ends.is_empty() {
                assert_eq!(words(&new_ends), words(&ends), "{what}: after the first {cut} events");
            }
        }
    }
}
