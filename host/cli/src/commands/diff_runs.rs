//! `durhai diff RUN RUN`: two runs' logs side by side.

use durhai::Event;
use durhai::logs::{Difference, DifferenceKind, LogSide, diff_logs};

use crate::args::Globals;
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::output::Out;
use crate::text::short;

/// Events read at a time.
const PAGE: usize = 1_000;

/// Prints where the logs of two runs differ; exit 1 if they do.
pub async fn diff_runs(globals: &Globals, left: &str, right: &str, out: &Out) -> Outcome {
    let diff = diff_logs(&whole_log(globals, left).await?, &whole_log(globals, right).await?);
    let exit = if diff.differences.is_empty() { Exit::Done } else { Exit::Failed };
    if out.json {
        out.document(&diff);
        return Ok(exit);
    }
    let Some(first) = diff.differences.first() else {
        out.line(format!("no difference: {} calls, {} and {} events", diff.same, diff.left_events, diff.right_events));
        return Ok(exit);
    };
    let at = first.step_id.as_ref().map_or(String::new(), |id| format!(", the first at step {id}"));
    let calls = if diff.same == 1 { "1 call is" } else { &format!("{} calls are", diff.same) };
    out.line(format!("{calls} the same, {} differ{at}", diff.differences.len()));
    out.line(format!("- {left}  {} events", diff.left_events));
    out.line(format!("+ {right}  {} events", diff.right_events));
    for difference in &diff.differences {
        out.line("");
        print(difference, out);
    }
    Ok(exit)
}

fn print(difference: &Difference, out: &Out) {
    let what = match difference.what {
        DifferenceKind::Start => "the runs were started with something else",
        DifferenceKind::Call => "another call, or another input",
        DifferenceKind::Result => "another result",
        DifferenceKind::OnlyLeft => "only in the first",
        DifferenceKind::OnlyRight => "only in the second",
        DifferenceKind::Outside => "something else came from outside",
        DifferenceKind::End => "another end",
    };
    match &difference.step_id {
        Some(id) => out.line(format!("step {id}: {what}")),
        None => out.line(what),
    }
    for (mark, side) in [('-', &difference.left), ('+', &difference.right)] {
        if let Some(side) = side {
            out.line(format!("{mark} {}", text(side)));
        }
    }
}

fn text(side: &LogSide) -> String {
    let mut text = side.what.clone();
    if !side.input.is_null() {
        text += &format!(" {}", short(&side.input, 120));
    }
    if let Some(came_to) = &side.came_to {
        text += &format!(" → {came_to}");
        if !side.result.is_null() {
            text += &format!(" {}", short(&side.result, 120));
        }
    }
    if !side.site.is_empty() {
        text += &format!("  ({})", side.site);
    }
    text
}

/// Of a run in the store, or in a file of its own: two files may hold one run at two times.
async fn whole_log(globals: &Globals, run: &str) -> Result<Vec<Event>, Fail> {
    let (client, run) = Client::of_run(globals, run).await?;
    let log = log(&client, &run).await;
    client.close().await;
    log
}

async fn log(client: &Client, run: &str) -> Result<Vec<Event>, Fail> {
    let mut log = Vec::new();
    loop {
        let page = client.events(run, log.len() as u64 + 1, PAGE).await?;
        let last = page.len() < PAGE;
        log.extend(page);
        if last {
            return Ok(log);
        }
    }
}
