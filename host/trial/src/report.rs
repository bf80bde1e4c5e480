//! Reports: for people, for programs, for CI services.

mod junit;
mod text;

use serde_json::{Value, json};

pub use junit::junit;
pub use text::{Style, failures, file, summary};

use crate::{FileReport, Finding, Outcome, Report};

/// A file as JSON lines, one for each test.
pub fn rows(report: &FileReport) -> Vec<Value> {
    let path = report.path.display().to_string();
    let mut rows = Vec::new();
    if let Some(broken) = &report.broken {
        rows.push(json!({ "event": "broken", "file": path, "failure": finding(broken) }));
    }
    rows.extend(report.tests.iter().map(|test| {
        let mut row = json!({
            "event": "test",
            "file": path,
            "name": test.name,
            "line": test.line,
            "status": if test.failure.is_some() { "failed" } else { "passed" },
            "ms": test.took.as_millis() as u64,
            "disturbed": test.disturbed,
        });
        if let Some(failure) = &test.failure {
            row["failure"] = finding(failure);
            row["repetition"] = json!(repetition(test));
            row["at"] = json!(test.struck);
        }
        if test.left_out > 0 {
            row["left_out"] = json!(test.left_out);
        }
        row
    }));
    rows
}

/// The last JSON line.
pub fn end(report: &Report) -> Value {
    let (passed, failed) = report.counts();
    let coverage = report.coverage.iter().map(|file| {
        json!({
            "file": file.path.display().to_string(),
            "lines": file.lines.len(),
            "hit": file.hit(),
            "missed": file.missed(),
        })
    });
    let mut end = json!({
        "event": "end",
        "passed": passed,
        "failed": failed,
        "seed": report.seed,
        "ms": report.took.as_millis() as u64,
    });
    if !report.coverage.is_empty() {
        end["coverage"] = coverage.collect();
    }
    end
}

fn finding(finding: &Finding) -> Value {
    json!({
        "message": finding.message,
        "diff": finding.diff,
        "notes": finding.notes,
        "line": finding.line,
        "column": finding.column,
    })
}

/// Which repetition failed.
fn repetition(test: &Outcome) -> String {
    test.disturbance.unwrap_or_default().to_string()
}
