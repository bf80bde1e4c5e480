//! `durhai replay RUN --interactive`: walking through a run, forward and back.
//!
//! Each command runs the log again and stops elsewhere, so going back is as easy as going on, and nothing is kept between two
//! of them but a number. Lines come from standard input: a terminal, or a pipe.

mod command;

use std::io::{BufRead, IsTerminal, Write};

use durhai::logs::{ReplayOptions, ReplayView};
use durhai::trace::{Snapshot, Stop};

use self::command::{Command, HELP};
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;
use crate::replayed::{print, print_around, print_place, print_variables};

/// A walk through one run.
struct Session<'a> {
    client: &'a Client,
    run: &'a str,
    options: ReplayOptions,
    out: &'a Out,
    /// Where it stands; none at the end of the run.
    at: Option<Box<Snapshot>>,
    /// How many statements there are, once the end was seen.
    end: Option<u64>,
}

/// Runs it until there are no more lines, or `q`.
pub async fn debug(client: &Client, run: &str, mut options: ReplayOptions, out: &Out) -> Outcome {
    let first = options.stop.take().unwrap_or(Stop::Statement { n: 1 });
    options.evaluate = None;
    let mut session = Session { client, run, options, out, at: None, end: None };
    session.go(first).await?;
    let prompt = std::io::stdin().is_terminal();
    let mut last = Command::Into;
    loop {
        if prompt {
            print!("(durhai) ");
            let _ = std::io::stdout().flush();
        }
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => return Ok(Exit::Done),
            Ok(_) => {}
        }
        let command = match line.trim() {
            "" => last.clone(),
            text => match Command::parse(text) {
                Ok(command) => command,
                Err(why) => {
                    note(why);
                    continue;
                }
            },
        };
        if command == Command::Quit {
            return Ok(Exit::Done);
        }
        match session.perform(&command).await {
            Ok(()) => {}
            // What cannot be is said, and the walk goes on; without a host there is none.
            Err(fail) if fail.exit != Exit::Unreachable => note(fail.message),
            Err(fail) => return Err(fail),
        }
        if command.moves() {
            last = command;
        }
        if out.closed() {
            return Ok(Exit::Done);
        }
    }
}

impl Session<'_> {
    async fn perform(&mut self, command: &Command) -> Result<(), Fail> {
        // At the end every way forward has been gone.
        let Some(at) = self.at.as_deref().cloned() else { return self.perform_at_end(command).await };
        let (n, task) = (at.n, at.task.clone());
        match command {
            Command::Into => self.go(Stop::Statement { n: n + 1 }).await,
            Command::Over => self.go(Stop::Depth { task, depth: at.depth, after: n }).await,
            Command::Out if at.depth == 0 => self.go(Stop::Statement { n: u64::MAX }).await,
            Command::Out => self.go(Stop::Depth { task, depth: at.depth - 1, after: n }).await,
            Command::Step => self.go(Stop::AnyStep { after: n }).await,
            Command::Back if n == 1 => {
                note("this is the first statement");
                Ok(())
            }
            Command::Back => self.go(Stop::Statement { n: n - 1 }).await,
            Command::Break(file, line) => {
                let stop = Stop::Place { file: file.clone(), line: *line, after: n };
                self.go(stop).await
            }
            Command::At(step_id) => self.go(Stop::Step { step_id: step_id.clone() }).await,
            Command::Continue => self.go(Stop::Statement { n: u64::MAX }).await,
            Command::Restart => self.go(Stop::Statement { n: 1 }).await,
            Command::Print(None) => {
                print_variables(&at, self.out);
                Ok(())
            }
            Command::Print(Some(expression)) => self.evaluate(n, expression).await,
            Command::List => {
                print_around(&at, self.out);
                Ok(())
            }
            Command::Where => {
                self.show_where(&at);
                Ok(())
            }
            Command::Help => {
                self.out.line(HELP);
                Ok(())
            }
            Command::Quit => Ok(()),
        }
    }

    async fn perform_at_end(&mut self, command: &Command) -> Result<(), Fail> {
        match (command, self.end) {
            (Command::Back, Some(end)) if end > 0 => self.go(Stop::Statement { n: end }).await,
            (Command::Restart, _) => self.go(Stop::Statement { n: 1 }).await,
            (Command::At(step_id), _) => self.go(Stop::Step { step_id: step_id.clone() }).await,
            (Command::Break(file, line), _) => {
                let stop = Stop::Place { file: file.clone(), line: *line, after: 0 };
                self.go(stop).await
            }
            (Command::Help, _) => {
                self.out.line(HELP);
                Ok(())
            }
            _ => {
                note("this is the end of the run: b goes back, r to the beginning");
                Ok(())
            }
        }
    }

    /// Runs the log again up to there.
    async fn go(&mut self, stop: Stop) -> Result<(), Fail> {
        let options = ReplayOptions { stop: Some(stop), ..self.options.clone() };
        let view = self.client.replay(self.run, &options).await?;
        self.arrive(view);
        Ok(())
    }

    fn arrive(&mut self, mut view: ReplayView) {
        match view.stopped.take() {
            Some(snapshot) => {
                let elsewhere =
                    |at: &Snapshot| (&at.file, &at.task, at.depth) != (&snapshot.file, &snapshot.task, snapshot.depth);
                if self.at.as_deref().is_none_or(elsewhere) {
                    print_place(&snapshot, self.out);
                }
                self.out.line(format!("{:>4} | {}", snapshot.line, snapshot.source).trim_end());
                self.at = Some(Box::new(snapshot));
            }
            None => {
                self.at = None;
                self.end = view.statements;
                self.out.line("the end of the run:");
                print(&view, self.out);
            }
        }
    }

    async fn evaluate(&self, n: u64, expression: &str) -> Result<(), Fail> {
        let stop = Some(Stop::Statement { n });
        let options = ReplayOptions { stop, evaluate: Some(expression.to_owned()), ..self.options.clone() };
        let view = self.client.replay(self.run, &options).await?;
        let Some(snapshot) = view.stopped else { return Ok(()) };
        if let Some(value) = snapshot.value {
            self.out.line(value);
        }
        if let Some(error) = snapshot.value_error {
            note(error);
        }
        Ok(())
    }

    fn show_where(&self, at: &Snapshot) {
        for frame in &at.stack {
            let name = match (frame.function.is_empty(), at.task.is_empty()) {
                (true, true) => "the body".to_owned(),
                (true, false) => format!("task {}", at.task),
                (false, _) => frame.function.clone(),
            };
            self.out.line(format!("{name}  {}:{}", frame.file, frame.line));
        }
        for wait in &at.waiting_for {
            let part = |key: &str| wait.get(key).and_then(|value| value.as_str()).unwrap_or_default();
            let words = [part("kind"), part("name"), part("step_id")].into_iter().filter(|word| !word.is_empty());
            self.out.line(format!("waits for {} at {}", words.collect::<Vec<_>>().join(" "), part("site")));
        }
    }
}
