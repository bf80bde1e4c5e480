//! A run that is being watched: a live line on a terminal, plain lines elsewhere, NDJSON where asked.

use std::io::IsTerminal;

use durhai::{Event, RunView, Value};
use durhai_api::Item;
use indicatif::{ProgressBar, ProgressStyle};

use crate::board::Board;
use crate::lines;
use crate::output::{Out, cut, note};
use crate::times;

/// Shows what happens in one run.
pub struct Progress<'a> {
    out: &'a Out,
    mode: Mode,
    board: Board,
    /// What it waits for, looked up when nothing happens for a while.
    waiting: Option<String>,
}

enum Mode {
    /// Nothing but the end.
    Quiet,
    /// Events as JSON lines on standard output.
    Json,
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
            _ if std::io::stderr().is_terminal() => Mode::Live(live()),
            _ => Mode::Plain,
        };
        Progress { out, mode, board: Board::default(), waiting: None }
    }

    /// Whether anybody sees script lines: nobody has to read them otherwise.
    pub fn wants_lines(&self) -> bool {
        !matches!(self.mode, Mode::Quiet)
    }

    /// Something that is no event.
    pub fn say(&self, text: &str) {
        match &self.mode {
            Mode::Quiet | Mode::Json => {}
            Mode::Plain => note(format!("{} {text}", times::clock(times::now()))),
            Mode::Live(bar) => bar.suspend(|| note(text)),
        }
    }

    pub fn item(&mut self, item: &Item) {
        self.waiting = None;
        match item {
            Item::Event(event) => self.event(event),
            Item::Line(entry) => {
                let text = lines::log_short(entry);
                match &self.mode {
                    Mode::Quiet => {}
                    Mode::Json | Mode::Plain => note(text),
                    Mode::Live(bar) => bar.suspend(|| note(text)),
                }
            }
            Item::Parked(_) | Item::Ended(_) => {}
        }
    }

    /// Nothing happened for a while: tells what the run waits for. True if somebody wants to know.
    pub fn is_curious(&self) -> bool {
        matches!(self.mode, Mode::Plain | Mode::Live(_)) && self.waiting.is_none() && !self.board.is_busy()
    }

    pub fn idle(&mut self, view: &RunView) {
        let waits: Vec<String> = view.waiting_for.iter().filter(|wait| !is_timer(wait)).map(lines::waiting).collect();
        let text = match waits.is_empty() {
            true => String::new(),
            false => format!("waiting for {}", waits.join(", ")),
        };
        if let Mode::Plain = self.mode
            && !text.is_empty()
        {
            let signal = view.waiting_for.iter().find_map(lines::signal);
            let hint = signal.map(|name| format!("; `durhai signal {} {name} JSON` sends it", view.id));
            self.say(&format!("{text}{}", hint.unwrap_or_default()));
        }
        self.waiting = Some(text);
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
        self.say(&format!("run {} {}{took}", view.id, view.status));
    }

    fn event(&mut self, event: &Event) {
        match &self.mode {
            Mode::Json => self.out.row(event),
            Mode::Plain => {
                if let Some(text) = self.board.narrate(event) {
                    note(format!("{} {text}", times::clock(event.at)));
                }
            }
            Mode::Quiet | Mode::Live(_) => {}
        }
        self.board.apply(event);
    }
}

fn is_timer(wait: &Value) -> bool {
    wait.get("kind").and_then(Value::as_str).is_some_and(|kind| kind == "timer" || kind == "sleep" || kind == "step")
}

fn live() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}
