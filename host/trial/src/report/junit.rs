//! JUnit's XML, which CI services read.

use crate::{FileReport, Finding, Outcome, Report};

/// The whole report as one document.
pub fn junit(report: &Report) -> String {
    let (passed, failed) = report.counts();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let errors = report.files.iter().filter(|file| file.broken.is_some()).count();
    out.push_str(&format!(
        "<testsuites name=\"durhai\" tests=\"{}\" failures=\"{}\" errors=\"{errors}\" time=\"{:.3}\">\n",
        passed + failed,
        failed - errors,
        report.took.as_secs_f64()
    ));
    report.files.iter().for_each(|file| suite(&mut out, file));
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, file: &FileReport) {
    let path = escape(&file.path.display().to_string());
    let failed = file.tests.iter().filter(|test| test.failure.is_some()).count();
    let seconds = file.tests.iter().fold(0.0, |sum, test| sum + test.took.as_secs_f64());
    out.push_str(&format!(
        "  <testsuite name=\"{path}\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\" time=\"{seconds:.3}\">\n",
        file.tests.len() + usize::from(file.broken.is_some()),
        usize::from(file.broken.is_some()),
    ));
    if let Some(broken) = &file.broken {
        out.push_str(&format!("    <testcase classname=\"{path}\" name=\"(file)\" time=\"0\">\n"));
        out.push_str(&format!(
            "      <error message=\"{}\">{}</error>\n    </testcase>\n",
            escape(&broken.message),
            escape(&body(&path, broken))
        ));
    }
    file.tests.iter().for_each(|test| case(out, &path, test));
    out.push_str("  </testsuite>\n");
}

fn case(out: &mut String, path: &str, test: &Outcome) {
    out.push_str(&format!(
        "    <testcase classname=\"{path}\" name=\"{}\" file=\"{path}\" line=\"{}\" time=\"{:.3}\"",
        escape(&test.name),
        test.line,
        test.took.as_secs_f64()
    ));
    let Some(failure) = &test.failure else { return out.push_str("/>\n") };
    let mut text = body(path, failure);
    if let Some(disturbance) = test.disturbance {
        text.push_str(&format!("\nonly with: {disturbance}"));
        text.extend(test.struck.iter().map(|struck| format!(" ({struck})")));
    }
    out.push_str(&format!(
        ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
        escape(&failure.message),
        escape(&text)
    ));
}

fn body(path: &str, finding: &Finding) -> String {
    let mut text = format!("{path}:{}:{}: {}", finding.line, finding.column, finding.message);
    text.extend(finding.diff.iter().map(|diff| format!("\n{diff}")));
    text.extend(finding.notes.iter().map(|note| format!("\n{note}")));
    text
}

/// As XML wants it; control characters, which it cannot hold, become `\u{…}`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
