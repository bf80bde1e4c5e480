//! A trace as people read it: each line of the script as it was run, below it what it asked for, what it was answered and
//! what changed. Loops are folded.

use std::collections::HashMap;
use std::sync::Arc;

pub use durhai_engine::trace::{Pass, Snapshot, SourceLine, StackFrame, Stop, TraceEvent, Traced, Variable};

/// Turns the events of a trace into lines. Memory does not grow with the length of the trace.
#[derive(Debug, Default)]
pub struct TraceText {
    /// Every pass of every loop.
    all: bool,
    levels: Vec<Level>,
    out: Vec<String>,
    file: Arc<str>,
    main: Option<Arc<str>>,
    indents: HashMap<Arc<str>, usize>,
}

/// A loop that is being passed through.
#[derive(Debug)]
struct Level {
    at: Pass,
    /// Lines of the pass at hand, kept until it is known whether it is the last one.
    held: Vec<String>,
    /// Passes that are left out.
    folded: u64,
}

/// Passes of a loop that are shown from its beginning on; the last one is shown too.
const FIRST: u64 = 2;

/// In front of what belongs to the line above.
const MARGIN: &str = "     |";

impl TraceText {
    /// `all`: no loop is folded.
    pub fn new(all: bool) -> Self {
        TraceText { all, ..TraceText::default() }
    }

    /// The lines that can be printed after this event.
    pub fn push(&mut self, event: &TraceEvent) -> Vec<String> {
        if !self.all {
            self.enter(&event.loops);
        }
        for line in self.lines(event) {
            self.put(self.levels.len(), line);
        }
        std::mem::take(&mut self.out)
    }

    /// What was held back.
    pub fn finish(&mut self) -> Vec<String> {
        while !self.levels.is_empty() {
            self.close();
        }
        std::mem::take(&mut self.out)
    }

    fn enter(&mut self, loops: &[Pass]) {
        let same = |level: &Level, pass: &Pass| (level.at.line, level.at.column) == (pass.line, pass.column);
        let mut common = 0;
        while let (Some(level), Some(pass)) = (self.levels.get(common), loops.get(common)) {
            // A smaller number: the same loop, begun once more.
            if !same(level, pass) || pass.pass < level.at.pass {
                break;
            }
            common += 1;
            if pass.pass > level.at.pass {
                break;
            }
        }
        let moves = common > 0 && loops[common - 1].pass > self.levels[common - 1].at.pass;
        while self.levels.len() > common {
            self.close();
        }
        if moves {
            let level = &mut self.levels[common - 1];
            if level.at.pass > FIRST {
                level.folded += 1;
                level.held.clear();
            }
            level.at.pass = loops[common - 1].pass;
        }
        for pass in &loops[common..] {
            self.levels.push(Level { at: *pass, held: Vec::new(), folded: 0 });
        }
    }

    /// The innermost loop is left: its last pass is shown.
    fn close(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        let outside = self.levels.len();
        if level.folded > 0 {
            let (from, to) = (FIRST + 1, level.at.pass - 1);
            let passes = if level.folded == 1 { format!("pass {from}") } else { format!("passes {from} to {to}") };
            let note = format!("{MARGIN}   … {passes} of the loop at line {} left out …", level.at.line);
            self.put(outside, note);
        }
        for line in level.held {
            self.put(outside, line);
        }
    }

    /// Prints a line that belongs inside so many loops, or keeps it where one of them may still fold it.
    fn put(&mut self, inside: usize, line: String) {
        let holds = self.levels[..inside].iter_mut().rev().find(|level| level.at.pass > FIRST);
        match holds {
            Some(level) => level.held.push(line),
            None => self.out.push(line),
        }
    }

    fn lines(&mut self, event: &TraceEvent) -> Vec<String> {
        let task = if event.task.is_empty() { String::new() } else { format!("[{}] ", event.task) };
        let indent = self.indents.get(&event.task).copied().unwrap_or(0);
        let below = |mark: &str, text: &str| {
            let text = text.replace('\n', " ");
            vec![format!("{MARGIN} {task}{:indent$}    {mark} {text}", "")]
        };
        let id = |id: &Option<durhai_core::StepId>| id.as_ref().map_or(String::new(), |id| format!("{id} "));
        match &event.what {
            Traced::Line { file, line, source, .. } => {
                let mut lines = Vec::new();
                self.main.get_or_insert_with(|| file.clone());
                if *file != self.file {
                    if !self.file.is_empty() || self.main.as_ref() != Some(file) {
                        lines.push(format!("{MARGIN} in {file}"));
                    }
                    self.file = file.clone();
                }
                let indent = source.len() - source.trim_start().len();
                self.indents.insert(event.task.clone(), indent);
                lines.push(format!("{line:>4} | {task}{source}"));
                lines
            }
            Traced::Changed { name, old: None, new } => below("·", &format!("{name} = {new}")),
            Traced::Changed { name, old: Some(old), new } => below("·", &format!("{name} = {new}   (was {old})")),
            Traced::Entered { function } => below("↳", function),
            Traced::Returned { function, value } => below("↲", &format!("{function} gives {value}")),
            Traced::Threw { function, error } => below("✗", &format!("{function} throws: {error}")),
            Traced::Called { step_id, call, input, new, .. } => {
                let input = input.as_ref().map_or(String::new(), |input| format!(" {input}"));
                let new = if *new { "   (not in the log)" } else { "" };
                below("→", &format!("{}{call}{input}{new}", id(step_id)))
            }
            Traced::Answered { step_id, value } => below("←", &format!("{}{value}", id(step_id))),
            Traced::Failed { step_id, error } => below("✗", &format!("{}{error}", id(step_id))),
        }
    }
}
