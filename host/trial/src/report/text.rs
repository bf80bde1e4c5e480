//! For people.

use crate::run::took;
use crate::{Disturbance, FileReport, Finding, Outcome, Report};

/// Colours, on a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    pub color: bool,
}

impl Style {
    fn paint(self, code: u8, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const DIM: u8 = 2;

/// One line for each test of a file.
pub fn file(report: &FileReport, style: Style) -> String {
    let mut lines = vec![report.path.display().to_string()];
    if report.broken.is_some() {
        lines.push(format!("  {} cannot be run", style.paint(RED, "FAILED")));
    } else if report.tests.is_empty() {
        return String::new();
    }
    let width = report.tests.iter().map(|test| test.name.chars().count()).max().unwrap_or(0);
    for test in &report.tests {
        let word = match &test.failure {
            Some(_) => style.paint(RED, "FAILED"),
            None => style.paint(GREEN, "ok    "),
        };
        let mut figures = took(test.took);
        match test.disturbed {
            0 => {}
            n => figures.push_str(&format!(", {n} times disturbed")),
        }
        if test.left_out > 0 {
            figures.push_str(&format!(" ({} crashes left out)", test.left_out));
        }
        let name = &test.name;
        lines.push(format!("  {word} {name:width$}  {}", style.paint(DIM, &format!("({figures})"))));
    }
    lines.join("\n")
}

/// What is wrong, test by test. `command` is what was typed, for the line that repeats one repetition.
pub fn failures(report: &Report, command: &str, style: Style) -> String {
    let mut out = String::new();
    for file in &report.files {
        let path = file.path.display();
        if let Some(broken) = &file.broken {
            out.push_str(&format!("{} {path}\n{}\n", style.paint(RED, "FAILED"), place(file, broken, style)));
        }
        for test in &file.tests {
            let Some(finding) = &test.failure else { continue };
            out.push_str(&format!("{} {path}::{}\n", style.paint(RED, "FAILED"), test.name));
            out.push_str(&place(file, finding, style));
            out.push_str(&disturbed(test));
            for line in &test.printed {
                out.push_str(&format!("  printed: {line}\n"));
            }
            if let Some(disturbance) = test.disturbance {
                let seed = if report.seed > 0 { format!(" --seed {}", report.seed) } else { String::new() };
                let filter = format!("--filter '{path}::{}'", test.name);
                out.push_str(&format!("  just that again: {command} {path} {filter} --only '{disturbance}'{seed}\n"));
            }
            out.push('\n');
        }
    }
    out
}

fn disturbed(test: &Outcome) -> String {
    let struck = test.struck.as_ref().map_or(String::new(), |write| format!(" ({write})"));
    match test.disturbance {
        None | Some(Disturbance::None) => String::new(),
        Some(Disturbance::Evicted) => "  only where runs are dropped from memory while they wait\n".into(),
        Some(disturbance) => format!("  only with a {disturbance}{struck}\n"),
    }
}

/// The finding with the line of the test it belongs to.
fn place(file: &FileReport, finding: &Finding, style: Style) -> String {
    let mut out = format!("  {}\n", finding.message.replace('\n', "\n  "));
    if finding.line > 0 {
        let (path, line, column) = (file.path.display(), finding.line, finding.column.max(1));
        match &finding.file {
            // A module that the test imports.
            Some(module) => out.push_str(&format!("  {module}.rhai:{line}:{column}\n")),
            None => {
                out.push_str(&format!("  {path}:{line}:{column}\n"));
                let source = file.source.lines().nth(line - 1).unwrap_or_default();
                let pad: String = source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let number = line.to_string();
                out.push_str(&format!("   {number} | {source}\n   {:w$} | {pad}^\n", "", w = number.len()));
            }
        }
    }
    for line in finding.diff.iter().flat_map(|diff| diff.lines()) {
        let painted = match line.as_bytes().first() {
            Some(b'-') => style.paint(RED, line),
            Some(b'+') => style.paint(GREEN, line),
            _ => line.to_owned(),
        };
        out.push_str(&format!("    {painted}\n"));
    }
    if finding.diff.is_some() {
        out.push_str(&format!("    {}\n", style.paint(DIM, "(- expected, + found)")));
    }
    for note in &finding.notes {
        out.push_str(&format!("  {}\n", note.replace('\n', "\n  ")));
    }
    out
}

/// The last lines.
pub fn summary(report: &Report, style: Style) -> String {
    let (passed, failed) = report.counts();
    let disturbed: usize = report.files.iter().flat_map(|file| &file.tests).map(|test| test.disturbed).sum();
    let word = if failed > 0 { style.paint(RED, "FAILED") } else { style.paint(GREEN, "ok") };
    let mut out = format!(
        "{word}: {passed} passed, {failed} failed, {disturbed} repetitions disturbed, seed {}, {}",
        report.seed,
        took(report.took)
    );
    if !report.coverage.is_empty() {
        let width = report.coverage.iter().map(|file| file.path.display().to_string().len()).max().unwrap_or(0);
        out.push_str("\n\nlines of workflows that were run:");
        for file in &report.coverage {
            let path = file.path.display().to_string();
            let missed = file.missed();
            let missed = if missed.is_empty() { String::new() } else { format!("  not: {missed}") };
            out.push_str(&format!(
                "\n  {path:width$}  {:>5.1} %  {:>3} of {:>3}{missed}",
                file.percent(),
                file.hit(),
                file.lines.len()
            ));
        }
    }
    out
}
