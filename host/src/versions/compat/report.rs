//! What a check of live runs found, as it is stored and shown.

use std::fmt;

use durhai_core::replay::Divergence;
use durhai_core::{Failure, Millis, RunId, Version};
use serde::{Deserialize, Serialize};

/// Runs that do not fit which a report names, at most.
pub(crate) const NAMED: usize = 1_000;

/// Characters of an input that a report shows.
const INPUT: usize = 400;

/// What comes of running a log against a version. Nothing was written, nothing was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum CompatVerdict {
    /// The whole log fits: the run can go on with it.
    Compatible,
    /// The script does something else than is recorded.
    Diverges { divergence: Box<Divergence> },
    /// The log fits, but the script would fail right where the run stands.
    Fails { error: Box<Failure> },
    /// The log cannot be read, or the text does not compile here.
    Unreadable { reason: String },
}

/// A run that cannot go on with a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Misfit {
    pub run: RunId,
    /// The version it has.
    pub version: Version,
    /// Where it shows: `order.rhai:18`, in the new text if it is there; empty if it is nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    #[serde(flatten)]
    pub verdict: CompatVerdict,
}

/// The result of checking the live runs of a workflow against a new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompatReport {
    pub workflow: String,
    /// The version that served before.
    pub from: Option<Version>,
    pub to: Version,
    /// `pin`, `upgrade` or `refuse`.
    pub policy: String,
    pub at: Millis,
    pub live: u64,
    pub compatible: u64,
    pub diverging: u64,
    pub failing: u64,
    pub unreadable: u64,
    /// The one whose place is first in the file.
    pub first: Option<Misfit>,
    /// The first thousand that do not fit.
    pub runs: Vec<Misfit>,
    /// Runs that went over to the new version.
    pub moved: u64,
    /// Whether the new version serves.
    pub served: bool,
    /// How long the replays took, the moves not counted.
    pub micros: u64,
}

/// The result of moving runs to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrateReport {
    pub workflow: String,
    pub to: Version,
    /// Nothing was moved.
    pub dry_run: bool,
    pub live: u64,
    /// Those that fit, be they moved or not.
    pub compatible: u64,
    pub moved: u64,
    /// Those that have the version already.
    pub already: u64,
    pub diverging: u64,
    pub failing: u64,
    pub unreadable: u64,
    /// Those that another host holds: it has to move them.
    pub elsewhere: u64,
    pub first: Option<Misfit>,
    /// The first thousand that do not fit.
    pub runs: Vec<Misfit>,
    pub micros: u64,
}

/// The result of moving one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    pub run: RunId,
    pub from: Version,
    pub to: Version,
    pub dry_run: bool,
    /// It goes on with the new version, and the log says so.
    pub moved: bool,
    /// Where it does not fit: `order.rhai:18`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    #[serde(flatten)]
    pub verdict: CompatVerdict,
}

/// Counts while runs are looked at; misfits come from several threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub live: u64,
    pub compatible: u64,
    pub diverging: u64,
    pub failing: u64,
    pub unreadable: u64,
    pub moved: u64,
    pub already: u64,
    pub elsewhere: u64,
    pub first: Option<Misfit>,
    pub runs: Vec<Misfit>,
}

impl Tally {
    pub fn add(&mut self, workflow: &str, run: &RunId, version: &Version, verdict: CompatVerdict) {
        self.live += 1;
        match &verdict {
            CompatVerdict::Compatible => {
                self.compatible += 1;
                return;
            }
            CompatVerdict::Diverges { .. } => self.diverging += 1,
            CompatVerdict::Fails { .. } => self.failing += 1,
            CompatVerdict::Unreadable { .. } => self.unreadable += 1,
        }
        let place = verdict.place(workflow);
        let misfit = Misfit { run: run.clone(), version: version.clone(), place, verdict };
        let main = format!("{workflow}.rhai");
        let first = self.first.as_ref().map(|first| order(&main, &first.place));
        if first.is_none_or(|first| order(&main, &misfit.place) < first) {
            self.first = Some(misfit.clone());
        }
        if self.runs.len() < NAMED {
            self.runs.push(misfit);
        }
    }

    /// Those that do not fit.
    pub fn misfits(&self) -> u64 {
        self.diverging + self.failing + self.unreadable
    }
}

/// The workflow's own file comes first, what has no place last.
fn order(main: &str, place: &str) -> (u8, String, u32) {
    let Some((file, line)) = place.rsplit_once(':') else { return (2, place.to_owned(), 0) };
    (u8::from(file != main), file.to_owned(), line.parse().unwrap_or(0))
}

impl CompatVerdict {
    pub fn is_compatible(&self) -> bool {
        matches!(self, CompatVerdict::Compatible)
    }

    /// `order.rhai:18`, in the new text where the script asks for something, else where the recorded call stood.
    pub(crate) fn place(&self, workflow: &str) -> String {
        let file = |name: &str| match name.starts_with("std/") || name.ends_with(".rhai") {
            true => name.to_owned(),
            false => format!("{name}.rhai"),
        };
        match self {
            CompatVerdict::Diverges { divergence } => {
                let sides = [&divergence.asked, &divergence.recorded];
                let site = sides.into_iter().flatten().find_map(|side| durhai_core::Site::parse(&side.site));
                site.map_or_else(String::new, |site| {
                    format!("{}:{}", file(site.file.as_deref().unwrap_or(workflow)), site.line)
                })
            }
            CompatVerdict::Fails { error } => {
                error.place.as_deref().map_or_else(String::new, |place| format!("{}:{}", file(&place.file), place.line))
            }
            CompatVerdict::Compatible | CompatVerdict::Unreadable { .. } => String::new(),
        }
    }

    /// A thousand of them are kept in one report, and an input may be as large as a payload.
    pub(crate) fn shorten(mut self) -> Self {
        match &mut self {
            CompatVerdict::Diverges { divergence } => {
                for side in [&mut divergence.recorded, &mut divergence.asked].into_iter().flatten() {
                    let input = side.input.to_string();
                    if input.chars().nth(INPUT).is_some() {
                        side.input = format!("{}…", input.chars().take(INPUT).collect::<String>()).into();
                    }
                }
            }
            CompatVerdict::Fails { error } => {
                error.data = serde_json::Value::Null;
                error.cause = None;
            }
            CompatVerdict::Compatible | CompatVerdict::Unreadable { .. } => {}
        }
        self
    }
}

impl fmt::Display for CompatVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompatVerdict::Compatible => f.write_str("the log fits"),
            CompatVerdict::Diverges { divergence } => write!(f, "{divergence}"),
            CompatVerdict::Fails { error } => {
                write!(f, "the log fits, but the script would fail there: {}", error.message)?;
                match error.place.as_deref().filter(|place| !place.source.is_empty()) {
                    Some(place) => write!(f, "\n  line     {}", place.source.trim()),
                    None => Ok(()),
                }
            }
            CompatVerdict::Unreadable { reason } => f.write_str(reason),
        }
    }
}

/// What there is to say of the runs, in one line and, for the first that does not fit, some more.
fn counts(
    f: &mut fmt::Formatter<'_>,
    can: &str,
    [live, compatible, diverging, failing, unreadable]: [u64; 5],
    first: Option<&Misfit>,
) -> fmt::Result {
    let runs = if live == 1 { "run" } else { "runs" };
    write!(f, "{live} live {runs}")?;
    let many = |n: u64, one: &'static str, more: &'static str| if n == 1 { one } else { more };
    let parts = [
        (compatible, can),
        (diverging, many(diverging, "diverges", "diverge")),
        (failing, "would fail"),
        (unreadable, "cannot be read"),
    ];
    let mut between = ": ";
    for (n, what) in parts.into_iter().filter(|(n, _)| *n > 0) {
        write!(f, "{between}{n} {what}")?;
        between = ", ";
    }
    let Some(first) = first else { return Ok(()) };
    if !first.place.is_empty() {
        write!(f, ", first at {}", first.place)?;
    }
    let text = first.verdict.to_string();
    // Of a divergence the two sides are enough: the line above says what they are about.
    let skip = usize::from(matches!(first.verdict, CompatVerdict::Diverges { .. }));
    text.lines().skip(skip).try_for_each(|line| write!(f, "\n  {}", line.trim_start()))
}

impl fmt::Display for CompatReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.workflow)?;
        let numbers = [self.live, self.compatible, self.diverging, self.failing, self.unreadable];
        counts(f, "can move", numbers, self.first.as_ref())?;
        if self.moved > 0 {
            write!(f, "\n  {} moved to {}", self.moved, self.to.short())?;
        }
        match (&self.from, self.served) {
            (Some(from), false) => write!(f, "\n  refused: {} serves on", from.short()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for MigrateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.workflow)?;
        let numbers = [self.live, self.compatible, self.diverging, self.failing, self.unreadable];
        counts(f, if self.dry_run { "can move" } else { "fit" }, numbers, self.first.as_ref())?;
        if !self.dry_run {
            write!(f, "\n  {} moved to {}", self.moved, self.to.short())?;
        }
        if self.already > 0 {
            write!(f, "\n  {} had it already", self.already)?;
        }
        if self.elsewhere > 0 {
            write!(f, "\n  {} are held by another host, which was asked to move them", self.elsewhere)?;
        }
        Ok(())
    }
}
