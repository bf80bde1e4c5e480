//! A graph coloured by what happened in a run.

use std::collections::{BTreeMap, HashMap};

use durhai_core::{Event, EventBody, Site, StepId};

use super::model::{Graph, Mark, Shape};

impl Graph {
    /// Marks every call by the events of a run, in their order, and by where it waits now. The events must be of the text the
    /// graph was made of: calls are found by their places.
    pub fn mark<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>, waiting: &[Site]) {
        let mut calls: HashMap<&StepId, (&Site, Mark)> = HashMap::new();
        let mut over = None;
        for event in events {
            match &event.body {
                EventBody::RunCompleted { .. } | EventBody::RunContinued { .. } => over = Some(true),
                EventBody::RunFailed { .. } | EventBody::RunCancelled { .. } => over = Some(false),
                _ => {}
            }
            let Some(id) = &event.step_id else { continue };
            if let Some(site) = &event.site {
                calls.entry(id).or_insert((site, Mark { open: 1, ..Mark::default() }));
            }
            let Some((_, mark)) = calls.get_mut(id) else { continue };
            match &event.body {
                EventBody::StepFailed { .. } | EventBody::ChildFailed { .. } | EventBody::HookConflict { .. } => {
                    *mark = Mark { failed: 1, ..Mark::default() };
                }
                EventBody::StepCompleted { .. }
                | EventBody::TimerFired
                | EventBody::SignalReceived { .. }
                | EventBody::HookOpened { .. }
                | EventBody::HookReceived { .. }
                | EventBody::Resumed { .. }
                | EventBody::ChildCompleted { .. }
                | EventBody::ChildStarted { detached: true, .. } => *mark = Mark { done: 1, ..Mark::default() },
                _ => {}
            }
        }
        let mut marks: BTreeMap<String, Mark> = BTreeMap::new();
        for (site, mark) in calls.values() {
            // What was open when the run ended waits no more.
            let mark = if over.is_some() && mark.open > 0 { Mark { failed: 1, ..Mark::default() } } else { *mark };
            let sum = marks.entry(site.to_string()).or_default();
            *sum = Mark { done: sum.done + mark.done, failed: sum.failed + mark.failed, open: sum.open + mark.open };
        }
        for site in waiting {
            let mark = marks.entry(site.to_string()).or_default();
            mark.open = mark.open.max(1);
        }
        for node in &mut self.nodes {
            node.mark = match (&node.site, node.shape, over) {
                (Some(site), ..) => Some(marks.get(&site.to_string()).copied().unwrap_or_default()),
                (None, Shape::Start, _) => Some(Mark { done: 1, ..Mark::default() }),
                (None, Shape::End, Some(true)) => Some(Mark { done: 1, ..Mark::default() }),
                (None, Shape::End, _) => Some(Mark::default()),
                _ => None,
            };
        }
    }
}
