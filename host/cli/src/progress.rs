//! A run that is being watched: a live line on a terminal, plain lines elsewhere, NDJSON where asked.

use std::collections::HashSet;
use std::io::IsTerminal;

use durhai::{Event, EventBody, RunView, Value};
use durhai_api::Item;
use indicatif::{ProgressBar, ProgressStyle};

use crate::board::Board;
use crate::lines;
use crate::note::{self, note};
use crate::output::Out;
use crate::text::{cut, quoted, short};
use crate::times;

/// Shows what happens in one run.
pub struct Progress<'a> {
    out: &'a Out,
    mode: Mode,
    board: Board,
    workflow: String,
    /// What it waits for, looked up when nothing happens for a while.
    waiting: Option<String>,
    /// It was not looked at yet: what it waits for may be older than the watch.
    fresh: bool,
    /// Where hooks are reached, if it is not where their addresses say.
    base: Option<String>,
    /// Waits that it was said of how they end.
    told: HashSet<String>,
}

enum Mode {
    /// Nothing but the end.
    Quiet,
    /// Events as JSON lines on standard output.
    Json,
    /// Events of the log, without what people need to answer: that has the tokens of hooks in it.
    Logged,
    /// Lines on standard error.
    Plain,
    /// One line that changes, at the bottom.
    Live(ProgressBar),
}

impl<'a> Progress<'a> {
    pub fn new(out: &'a Out, quiet: bool) -> Self {
        let mode = match (quiet, out.json) {
            (true, _) => Mode::Quiet,
            (_, true) => Mode::Json,
            _ if note::are_events() => Mode::Logged,
            _ if std::io::stderr().is_terminal() => Mode::Live(live()),
            _ => Mode::Plain,
        };
        let board = Board::default();
        Progress {
            out,
            mode,
            board,
            workflow: String::new(),
            waiting: None,
            fresh: true,
            base: None,
            told: HashSet::new(),
        }
    }

    /// The run is one of this workflow.
    pub fn of(mut self, workflow: &str) -> Self {
        self.workflow = workflow.into();
        self
    }

    /// Hooks of the run are reached below this address, whatever theirs was when they were opened.
    pub fn hooks_at(mut self, base: String) -> Self {
        self.base = Some(base);
        self
    }

    /// What is watched next is another run, which this one goes on as.
    pub fn next_run(&mut self) {
        self.board = Board::default();
        self.waiting = None;
        self.fresh = true;
    }

    /// Whether script lines are shown: they need not be read otherwise.
    pub fn wants_lines(&self) -> bool {
        !matches!(self.mode, Mode::Quiet | Mode::Logged)
    }

    /// Something that is no event.
    pub fn say(&self, text: &str) {
        match &self.mode {
            Mode::Quiet | Mode::Json | Mode::Logged => {}
            Mode::Plain => note(format!("{} {text}", times::clock(times::now()))),
            Mode::Live(bar) => bar.suspend(|| note(text)),
        }
    }

    pub fn item(&mut self, run: &str, item: &Item) {
        self.waiting = None;
        match item {
            Item::Event(event) => self.event(run, event),
            Item::Line(entry) => {
                let text = lines::log_short(entry);
                match &self.mode {
                    Mode::Quiet | Mode::Logged => {}
                    Mode::Json | Mode::Plain => note(text),
                    Mode::Live(bar) => bar.suspend(|| note(text)),
                }
            }
            Item::Emitted(_) | Item::Parked(_) | Item::Ended(_) => {}
        }
    }

    /// Nothing happened for a while: tells what the run waits for. True if it was shown.
    pub fn is_curious(&self) -> bool {
        matches!(self.mode, Mode::Plain | Mode::Live(_))
            && self.waiting.is_none()
            && (self.fresh || !self.board.is_busy())
    }

    pub fn idle(&mut self, view: &RunView) {
        self.fresh = false;
        let waits: Vec<&Value> = view.waiting_for.iter().filter(|wait| is_from_outside(wait)).collect();
        let asks = waits.iter().filter(|wait| wait["kind"] == "suspend").count();
        for wait in &waits {
            let Some(command) = lines::answer(view.id.as_str(), wait, asks > 1) else { continue };
            let text = match (wait["kind"].as_str(), wait["name"].as_str(), &self.base) {
                (Some("hook"), Some(token), Some(base)) => {
                    format!("waiting for {}: {base}/hooks/{token}", lines::waiting(wait))
                }
                _ => format!("waiting for {}; `{command}` sends it", lines::waiting(wait)),
            };
            // A hook is told by its token: the calls that open it and wait for it are two.
            let key = if wait["kind"] == "hook" { &wait["name"] } else { &wait["step_id"] };
            self.tell(view.id.as_str(), key.as_str().unwrap_or_default(), &text);
        }
        let waits: Vec<String> = waits.into_iter().map(lines::waiting).collect();
        self.waiting = Some(match waits.is_empty() {
            true => String::new(),
            false => format!("waiting for {}", waits.join(", ")),
        });
    }

    /// Says once how a wait can be ended.
    fn tell(&mut self, run: &str, key: &str, text: &str) {
        if !matches!(self.mode, Mode::Logged) && self.told.insert(format!("{run} {key}")) {
            self.say(text);
        }
    }

    /// Time passes.
    pub fn tick(&self) {
        if let Mode::Live(bar) = &self.mode {
            let mut text = self.board.summary(times::now());
            if let Some(waiting) = self.waiting.as_ref().filter(|waiting| !waiting.is_empty()) {
                text = format!("{text} · {waiting}");
            }
            // The bar cuts it at the edge of the terminal; this only keeps it on one line.
            bar.set_message(cut(&text, 400));
            bar.tick();
        }
    }

    /// Takes the live line away.
    pub fn clear(&self) {
        if let Mode::Live(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }

    /// The last word about a run that has ended.
    pub fn summary(&self, view: &RunView) {
        let took = view.ended_at.map(|end| end.saturating_sub(view.started_at.unwrap_or(view.created_at)));
        let took = took.map(|took| format!(" in {}", times::span(took))).unwrap_or_default();
        self.clear();
        if matches!(self.mode, Mode::Logged) {
            let (run, workflow, status) = (view.id.as_str(), &view.workflow, view.status.to_string());
            return tracing::info!(run, workflow, status, "the run has ended{took}");
        }
        self.say(&format!("run {} {}{took}", view.id, view.status));
    }

    fn event(&mut self, run: &str, event: &Event) {
        match &self.mode {
            Mode::Json => self.out.row(event),
            Mode::Logged => {
                if let Some(text) = self.board.narrate(event) {
                    let step_id = event.step_id.as_ref().map(|id| id.as_str());
                    tracing::info!(run, workflow = self.workflow, step_id, "{text}");
                }
            }
            Mode::Plain => {
                // That a hook is open is said with its address, below.
                if !matches!(event.body, EventBody::HookOpened { .. })
                    && let Some(text) = self.board.narrate(event)
                {
                    note(format!("{} {text}", times::clock(event.at)));
                }
            }
            Mode::Quiet | Mode::Live(_) => {}
        }
        self.board.apply(event);
        let step_id = event.step_id.as_ref().map(|id| id.as_str()).unwrap_or_default();
        match &event.body {
            EventBody::Suspended { payload, label, .. } => {
                let command = lines::resume(&quoted(run), label.as_deref(), None);
                let question = match self.mode {
                    Mode::Plain => String::new(),
                    _ => format!("run {run} asks {}; ", short(payload, 200)),
                };
                self.tell(run, step_id, &format!("{question}`{command}` answers"));
            }
            EventBody::HookOpened { token, url, .. } => {
                let url = self.base.as_ref().map_or_else(|| url.clone(), |base| format!("{base}/hooks/{token}"));
                self.tell(run, token, &format!("hook ({step_id}) opened: {url}"));
            }
            _ => {}
        }
    }
}

/// An operator, a client or another run can end this wait.
fn is_from_outside(wait: &Value) -> bool {
    let kind = wait.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| matches!(kind, "signal" | "hook" | "suspend" | "child"))
}

fn live() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}
