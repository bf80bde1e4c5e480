//! What a replay found, as text.

use durhai::Value;
use durhai::logs::{Divergence, ReplayView};
use durhai::trace::Snapshot;

use crate::exit::Exit;
use crate::note::note;
use crate::output::Out;
use crate::text::short;

/// The result of a replay.
pub fn print(view: &ReplayView, out: &Out) -> Exit {
    if out.json {
        out.document(view);
        return exit(view);
    }
    if let Some(snapshot) = &view.stopped {
        print_snapshot(snapshot, out);
        return Exit::Done;
    }
    let used = match view.used == view.events {
        true => format!("{} events", view.events),
        false => format!("the first {} of {} events", view.used, view.events),
    };
    let took = view.micros as f64 / 1000.0;
    if let Some(divergence) = &view.divergence {
        out.line(format!("does not fit   {used}, {took:.1} ms"));
        out.line("");
        print_divergence(divergence, out);
        return exit(view);
    }
    out.line(format!("{:<14} {used}, {took:.1} ms", out.status(view.status)));
    if !view.output.is_null() {
        out.line(format!("output         {}", view.output));
    }
    let asked = |wait: &&Value| {
        let id = wait.get("step_id").and_then(Value::as_str);
        id.is_some_and(|id| view.next.iter().any(|call| call.step_id.as_ref().is_some_and(|next| next.as_str() == id)))
    };
    for wait in view.waiting_for.iter().filter(|wait| !asked(wait)) {
        out.line(format!("waits for      {}", waiting(wait)));
    }
    for call in &view.next {
        let id = call.step_id.as_ref().map_or(String::new(), |id| format!("{id} "));
        let input = if call.input.is_null() { String::new() } else { format!(" with {}", short(&call.input, 300)) };
        out.line(format!("would do next  {id}{}{input}", call.what));
        out.line(format!("               at {}: {}", call.site, call.source));
    }
    if let Some(error) = &view.error {
        out.line("");
        error.to_string().lines().for_each(|line| out.line(line));
    }
    exit(view)
}

pub fn exit(view: &ReplayView) -> Exit {
    if view.divergence.is_some() { Exit::Failed } else { Exit::Done }
}

/// Recorded and asked, one below the other, each with its line.
fn print_divergence(divergence: &Divergence, out: &Out) {
    let step = divergence.step_id.as_ref().map_or(String::new(), |id| format!(" at step {id}"));
    out.line(format!("{}{step} (event {})", divergence.message, divergence.seq));
    for (name, side) in [("recorded", &divergence.recorded), ("asked now", &divergence.asked)] {
        match side {
            None => out.line(format!("  {name:<10} nothing")),
            Some(side) => {
                let input =
                    if side.input.is_null() { String::new() } else { format!(" with {}", short(&side.input, 300)) };
                out.line(format!("  {name:<10} {}{input}", side.what));
                if !side.site.is_empty() {
                    out.line(format!("  {:<10} at {}: {}", "", side.site, side.source));
                }
            }
        }
    }
}

fn waiting(wait: &Value) -> String {
    let part = |key: &str| wait.get(key).and_then(Value::as_str).unwrap_or_default();
    let words = [part("kind"), part("name"), part("step_id")].into_iter().filter(|word| !word.is_empty());
    format!("{} at {}", words.collect::<Vec<_>>().join(" "), part("site"))
}

/// Where a replay stopped: the place, the text around it, the variables.
fn print_snapshot(snapshot: &Snapshot, out: &Out) {
    print_place(snapshot, out);
    if let Some(value) = &snapshot.value {
        return out.line(value);
    }
    if let Some(error) = &snapshot.value_error {
        return note(format!("error: {error}"));
    }
    out.line("");
    print_around(snapshot, out);
    out.line("");
    print_variables(snapshot, out);
}

pub fn print_place(snapshot: &Snapshot, out: &Out) {
    let task = if snapshot.task.is_empty() { String::new() } else { format!(" in task {}", snapshot.task) };
    let function = match snapshot.stack.first().map(|frame| frame.function.as_str()) {
        Some(function) if !function.is_empty() && snapshot.depth > 0 => format!(" in {function}"),
        _ => String::new(),
    };
    out.line(format!("stopped before {}:{}{function}{task}", snapshot.file, snapshot.line));
}

pub fn print_around(snapshot: &Snapshot, out: &Out) {
    for line in &snapshot.around {
        let mark = if line.line == snapshot.line { '>' } else { ' ' };
        out.line(format!("{mark}{:>4} | {}", line.line, line.text).trim_end());
    }
}

pub fn print_variables(snapshot: &Snapshot, out: &Out) {
    let width = snapshot.variables.iter().map(|variable| variable.name.chars().count()).max().unwrap_or(0);
    for variable in &snapshot.variables {
        out.line(format!("{:width$} = {}", variable.name, variable.value));
    }
}
