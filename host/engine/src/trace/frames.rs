//! What a tracer remembers of a task: its function calls, the loops they are in, and what their variables looked like.

use std::rc::Rc;
use std::sync::Arc;

use rhai::Scope;

use super::event::{Pass, StackFrame};
use super::peek;
use super::places::{Place, Places};

/// A task whose fiber has begun.
pub struct TaskFrames {
    pub path: Arc<str>,
    /// The loops around the call that opened it.
    pub around: Vec<Pass>,
    pub frames: Vec<Frame>,
    /// The statement it is in.
    pub n: u64,
}

/// A function that has not returned, or the body of the workflow.
pub struct Frame {
    pub function: String,
    pub places: Rc<Places>,
    /// Entries of Rhai's call stack when it began.
    pub calls: usize,
    pub place: Place,
    loops: Vec<(usize, u64)>,
    seen: Vec<Seen>,
}

struct Seen {
    name: String,
    fingerprint: u64,
    shown: String,
}

/// A variable that is new or has changed.
pub struct Change {
    pub name: String,
    pub old: Option<String>,
    pub new: String,
}

impl TaskFrames {
    pub fn new(path: Arc<str>, around: Vec<Pass>) -> Self {
        TaskFrames { path, around, frames: Vec::new(), n: 0 }
    }

    /// All loops that it is in now, outermost first.
    pub fn loops(&self) -> Vec<Pass> {
        let own = self.frames.iter().flat_map(|frame| {
            frame.loops.iter().filter(|(_, pass)| *pass > 0).map(|(number, pass)| {
                let (line, column) = frame.places.place_of(*number);
                Pass { line, column, pass: *pass }
            })
        });
        self.around.iter().copied().chain(own).collect()
    }

    pub fn depth(&self) -> usize {
        self.frames.len().saturating_sub(1)
    }

    /// Innermost first.
    pub fn stack(&self) -> Vec<StackFrame> {
        let shown = |frame: &Frame| StackFrame {
            function: frame.function.clone(),
            file: frame.places.file.to_string(),
            line: frame.place.0,
        };
        self.frames.iter().rev().map(shown).collect()
    }
}

impl Frame {
    pub fn new(function: String, places: Rc<Places>, calls: usize) -> Self {
        Frame { function, places, calls, place: (0, 0), loops: Vec::new(), seen: Vec::new() }
    }

    /// A statement begins at `reported`, where Rhai says it is: loops are left, entered and passed through.
    pub fn move_to(&mut self, reported: Place) {
        while self.loops.last().is_some_and(|(number, _)| !self.places.is_inside(*number, reported)) {
            self.loops.pop();
        }
        if let Some(number) = self.places.body_at(reported)
            && let Some(open) = self.loops.iter_mut().find(|(open, _)| *open == number)
        {
            open.1 += 1;
        }
        if let Some(number) = self.places.loop_at(reported) {
            self.loops.push((number, 0));
        }
        self.place = reported;
    }

    /// What the scope holds that it did not hold, or not like this, when it was last looked at.
    pub fn changes(&mut self, scope: &Scope<'_>, limit: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        for (at, (name, _, value)) in peek::in_order(scope).into_iter().enumerate() {
            let fingerprint = peek::fingerprint(value);
            match self.seen.get_mut(at) {
                Some(seen) if seen.name == name && seen.fingerprint == fingerprint => {}
                Some(seen) if seen.name == name => {
                    let new = peek::brief(value, limit);
                    let old = std::mem::replace(&mut seen.shown, new.clone());
                    seen.fingerprint = fingerprint;
                    changes.push(Change { name: name.into(), old: Some(old), new });
                }
                _ => {
                    self.seen.truncate(at);
                    let new = peek::brief(value, limit);
                    self.seen.push(Seen { name: name.into(), fingerprint, shown: new.clone() });
                    changes.push(Change { name: name.into(), old: None, new });
                }
            }
        }
        self.seen.truncate(scope.len());
        changes
    }
}
