//! The life of one workflow's text in a host: a state machine, and the one place that reports.
//!
//! ```text
//!                 Gone                    Broken(why)
//!   every stage ───────► Absent   every ─────────────► Broken
//!
//!   every stage ─ Compiled, no live run on another version ─ Serves ─► Serving
//!
//!   every stage ─ Compiled ─► Candidate ─ CheckBegins ─► Checking ─┬ Serves, Checked ─► Serving
//!                                 ▲                                └ Refused ─► Refused
//!                                 └──── Compiled again, and the runs in its way are not any more
//!
//!   every stage ─ Overtaken, by a text that another host saved later ─► Behind
//! ```
//!
//! What *serves* is kept beside the stage: a text that does not compile, is being checked or is refused leaves the version
//! before it serving. Only without a text nothing starts.

use std::time::Instant;

use durhai_core::Version;

use crate::versions::candidate::Blocking;
use crate::versions::compat::report::CompatReport;
use crate::versions::newest::Saved;
use crate::versions::serving::{Missing, Serving};
use crate::versions::stamp::Stamp;
use crate::view::{Behind, Report};

/// One workflow, by what is known of its text.
#[derive(Clone, Default)]
pub(crate) struct Workflow {
    pub stage: Stage,
    /// What new starts get, while there is a text.
    pub serving: Option<Serving>,
    pub description: String,
    /// What `check` finds wrong in the text that serves.
    pub findings: Vec<String>,
    /// The files that were looked at for the stage.
    pub stamps: Vec<Stamp>,
    /// What the text compiles to, or did before it was broken or removed, and when it was saved.
    pub text: Option<Saved>,
    /// What serves in all hosts, where another one brought it.
    pub pointed: Option<Saved>,
    /// What serves in the other hosts, and cannot be read in this one.
    pub unreadable: Option<Unreadable>,
}

#[derive(Clone)]
pub(crate) struct Unreadable {
    pub version: Version,
    pub error: String,
    /// When it was tried last.
    pub tried: Instant,
}

#[derive(Clone, Default)]
pub(crate) enum Stage {
    /// There is no text, or none any more.
    #[default]
    Absent,
    /// The text does not compile, or cannot be read.
    Broken { error: String },
    /// It compiles to this version, and live runs of the workflow have another one: they are to be checked against it.
    Candidate { version: Version },
    /// They are being checked.
    Checking { version: Version },
    /// It serves.
    Serving { version: Version },
    /// It compiles, and another text serves that another host saved later.
    Behind { version: Version },
    /// It compiles, its header refuses what live runs do not fit, and these runs do not.
    Refused { version: Version, error: String, blocking: Vec<Blocking> },
}

/// What happened.
pub(crate) enum Change {
    Gone,
    Broken {
        error: String,
    },
    /// Live runs have another version.
    Compiled {
        version: Version,
    },
    /// Of the live runs against the version that compiled last.
    CheckBegins,
    /// The version is the one that starts get; the world knows. `checked`: what the check of live runs said follows.
    Serves {
        serving: Serving,
        description: String,
        checked: bool,
    },
    /// A text that was saved later than this version serves, in all hosts.
    Overtaken {
        version: Version,
        pointed: Saved,
    },
    /// What serves in all hosts does here from now on. `checked`: what the check of live runs said follows.
    Follows {
        serving: Serving,
        description: String,
        pointed: Saved,
        checked: bool,
    },
    /// What serves in all hosts cannot be read here: what serves here goes on.
    Unreadable {
        version: Version,
        error: String,
    },
    /// What serves in all hosts does here, too.
    Readable,
    /// What the check of live runs said of a version that serves; `None`: there was no live run any more.
    Checked {
        version: Version,
        report: Option<Box<CompatReport>>,
    },
    Refused {
        version: Version,
        error: String,
        blocking: Vec<Blocking>,
        report: Box<CompatReport>,
    },
}

impl Workflow {
    /// The only way from one stage to another, and the only one to report.
    pub fn transition(&mut self, name: &str, change: Change) -> Vec<Report> {
        let workflow = name.to_owned();
        match change {
            Change::Gone if !self.is_present() => Vec::new(),
            Change::Gone => {
                self.stage = Stage::Absent;
                self.unreadable = None;
                self.findings.clear();
                vec![Report::Removed { workflow }]
            }
            Change::Broken { error } => {
                let known = matches!(&self.stage, Stage::Broken { error: before } if *before == error);
                self.stage = Stage::Broken { error: error.clone() };
                if known { Vec::new() } else { vec![Report::Broken { workflow, error }] }
            }
            Change::Compiled { version } => {
                self.stage = Stage::Candidate { version };
                Vec::new()
            }
            Change::CheckBegins => {
                if let Stage::Candidate { version } = &self.stage {
                    self.stage = Stage::Checking { version: version.clone() };
                }
                Vec::new()
            }
            Change::Serves { serving, description, checked } => {
                let version = serving.version.clone();
                self.stage = Stage::Serving { version: version.clone() };
                self.serving = Some(serving);
                self.description = description;
                self.unreadable = None;
                self.findings.clear();
                if checked { Vec::new() } else { vec![Report::Loaded { workflow, version }] }
            }
            Change::Overtaken { version, pointed } => {
                self.stage = Stage::Behind { version };
                self.pointed = Some(pointed);
                Vec::new()
            }
            // Without a text nothing serves.
            Change::Follows { .. } if !self.is_present() => Vec::new(),
            Change::Follows { serving, description, pointed, checked } => {
                let version = pointed.version.clone();
                match &self.text {
                    _ if matches!(self.stage, Stage::Broken { .. }) => {}
                    Some(text) if text.version == version => self.stage = Stage::Serving { version: version.clone() },
                    Some(text) if *text < pointed => self.stage = Stage::Behind { version: text.version.clone() },
                    // It was saved later, and is to serve when it was checked.
                    _ => {}
                }
                (self.serving, self.description, self.pointed) = (Some(serving), description, Some(pointed));
                self.unreadable = None;
                self.findings.clear();
                if checked { Vec::new() } else { vec![Report::Loaded { workflow, version }] }
            }
            Change::Unreadable { version, error } => {
                let known = self.unreadable.as_ref().is_some_and(|before| before.error == error);
                self.unreadable = Some(Unreadable { version, error: error.clone(), tried: Instant::now() });
                if known { Vec::new() } else { vec![Report::Broken { workflow, error }] }
            }
            Change::Readable => {
                let was = self.unreadable.take();
                let serving = self.serving.as_ref().filter(|_| was.is_some()).map(|serving| serving.version.clone());
                serving.map(|version| Report::Loaded { workflow, version }).into_iter().collect()
            }
            Change::Checked { version, report } => {
                let checked = report.map(Report::Gated);
                checked.into_iter().chain([Report::Loaded { workflow, version }]).collect()
            }
            Change::Refused { version, error, blocking, report } => {
                self.stage = Stage::Refused { version, error: error.clone(), blocking };
                vec![Report::Gated(report), Report::Broken { workflow, error }]
            }
        }
    }

    /// Whether there is a text: without one nothing starts.
    pub fn is_present(&self) -> bool {
        !matches!(self.stage, Stage::Absent)
    }

    /// A version of it is on its way to serve: a start waits a moment for it.
    pub fn is_under_way(&self) -> bool {
        matches!(self.stage, Stage::Candidate { .. } | Stage::Checking { .. })
    }

    /// Whether live runs are to be checked against this version, still: the text may be another one by now, or gone.
    pub fn awaits_check_of(&self, version: &Version) -> bool {
        match &self.stage {
            Stage::Candidate { version: awaited } | Stage::Checking { version: awaited } => awaited == version,
            _ => false,
        }
    }

    /// Whether this version is what the text came to, so that there is nothing to do about it again.
    pub fn is_settled_at(&self, version: &Version) -> bool {
        match &self.stage {
            Stage::Serving { version: settled }
            | Stage::Behind { version: settled }
            | Stage::Refused { version: settled, .. } => settled == version,
            Stage::Absent | Stage::Broken { .. } | Stage::Candidate { .. } | Stage::Checking { .. } => false,
        }
    }

    /// The runs that a refused version waits for.
    pub fn blocking(&self) -> Option<&[Blocking]> {
        match &self.stage {
            Stage::Refused { blocking, .. } => Some(blocking),
            _ => None,
        }
    }

    /// What serves instead of the text, where another host saved another one later.
    pub fn behind(&self) -> Option<Behind> {
        match (&self.stage, &self.pointed) {
            (Stage::Behind { version }, Some(pointed)) => {
                Some(Behind { version: version.clone(), serving: pointed.version.clone(), saved_at: pointed.at })
            }
            _ => None,
        }
    }

    /// Why the text that is there does not serve, or that of the other hosts does not here.
    pub fn error(&self) -> Option<&str> {
        match &self.stage {
            Stage::Broken { error } | Stage::Refused { error, .. } => Some(error),
            _ => self.unreadable.as_ref().map(|unreadable| &*unreadable.error),
        }
    }

    /// What a start gets. `None`: nothing is known of the workflow.
    pub fn for_start(&self) -> Option<Result<Serving, Missing>> {
        match (&self.serving, self.error()) {
            _ if !self.is_present() => None,
            (Some(serving), _) => Some(Ok(serving.clone())),
            (None, Some(error)) => Some(Err(Missing::Broken(error.to_owned()))),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Change, Stage, Workflow};
    use crate::versions::newest::Saved;
    use crate::versions::serving::Serving;
    use durhai_core::Version;

    fn serves(version: &str) -> Change {
        let serving = Serving { version: Version::from_digest(version), header: Arc::default() };
        Change::Serves { serving, description: String::new(), checked: false }
    }

    fn serves_after_a_check(version: &str) -> Change {
        let serving = Serving { version: Version::from_digest(version), header: Arc::default() };
        Change::Serves { serving, description: String::new(), checked: true }
    }

    fn compiled(version: &str) -> Change {
        Change::Compiled { version: Version::from_digest(version) }
    }

    fn checked(version: &str) -> Change {
        Change::Checked { version: Version::from_digest(version), report: None }
    }

    fn refused(version: &str) -> Change {
        let report = serde_json::from_value(serde_json::json!({
            "workflow": "w", "from": null, "to": version, "policy": "refuse", "at": 0, "live": 1, "compatible": 0,
            "diverging": 1, "failing": 0, "unreadable": 0, "first": null, "runs": [], "moved": 0, "served": false, "micros": 0,
        }));
        Change::Refused {
            version: Version::from_digest(version),
            error: "run a stands in its way".into(),
            blocking: Vec::new(),
            report: Box::new(report.expect("a report")),
        }
    }

    fn broken(error: &str) -> Change {
        Change::Broken { error: error.into() }
    }

    fn stage(workflow: &Workflow) -> String {
        match &workflow.stage {
            Stage::Absent => "absent".into(),
            Stage::Broken { error } => format!("broken {error}"),
            Stage::Candidate { version } => format!("candidate {}", version.as_str()),
            Stage::Checking { version } => format!("checking {}", version.as_str()),
            Stage::Serving { version } => format!("serving {}", version.as_str()),
            Stage::Refused { version, .. } => format!("refused {}", version.as_str()),
            Stage::Behind { version } => format!("behind {}", version.as_str()),
        }
    }

    /// Each line: what happens, the stage after it, how many reports, and the version that starts get (`-`: none).
    #[test]
    fn stages_follow_each_other() {
        let steps: Vec<(Change, &str, usize, &str)> = vec![
            (Change::Gone, "absent", 0, "-"),
            (broken("no"), "broken no", 1, "-"),
            (broken("no"), "broken no", 0, "-"),
            (broken("not yet"), "broken not yet", 1, "-"),
            (serves("1"), "serving 1", 1, "1"),
            (compiled("2"), "candidate 2", 0, "1"),
            (Change::CheckBegins, "checking 2", 0, "1"),
            // Another save came before the check was over.
            (compiled("3"), "candidate 3", 0, "1"),
            (Change::CheckBegins, "checking 3", 0, "1"),
            // And another one, with which there is no live run any more: it is told like one that was never checked.
            (serves("4"), "serving 4", 1, "4"),
            (compiled("2"), "candidate 2", 0, "4"),
            (Change::CheckBegins, "checking 2", 0, "4"),
            (serves_after_a_check("2"), "serving 2", 0, "2"),
            (checked("2"), "serving 2", 1, "2"),
            // A check that begins when the text is gone, or is another one, changes nothing.
            (Change::CheckBegins, "serving 2", 0, "2"),
            (compiled("3"), "candidate 3", 0, "2"),
            (Change::CheckBegins, "checking 3", 0, "2"),
            (refused("3"), "refused 3", 2, "2"),
            (broken("no"), "broken no", 1, "2"),
            (serves("2"), "serving 2", 1, "2"),
            (Change::Gone, "absent", 1, "-"),
            (Change::Gone, "absent", 0, "-"),
            (Change::CheckBegins, "absent", 0, "-"),
            (serves("2"), "serving 2", 1, "2"),
        ];
        stand(&mut Workflow::default(), steps);
    }

    fn saved(version: &str, at: u64) -> Saved {
        Saved { at, version: Version::from_digest(version) }
    }

    fn follows(version: &str, at: u64) -> Change {
        let serving = Serving { version: Version::from_digest(version), header: Arc::default() };
        Change::Follows { serving, description: String::new(), pointed: saved(version, at), checked: false }
    }

    /// The same of a text that was saved at moment 5, where other hosts save others.
    #[test]
    fn texts_of_other_hosts_serve() {
        let text = |version: &str| Workflow { text: Some(saved(version, 5)), ..Workflow::default() };
        let overtaken =
            |version: &str| Change::Overtaken { version: Version::from_digest(version), pointed: saved("9", 9) };
        // Without a text there is nothing to serve.
        stand(&mut text("1"), vec![(follows("2", 6), "absent", 0, "-")]);
        let mut workflow = text("1");
        stand(&mut workflow, vec![(serves("1"), "serving 1", 1, "1"), (follows("2", 6), "behind 1", 1, "2")]);
        assert!(workflow.behind().is_some() && workflow.is_settled_at(&Version::from_digest("1")));
        stand(&mut workflow, vec![(follows("1", 7), "serving 1", 1, "1")]);
        assert_eq!(workflow.behind(), None);
        // One that is to be checked goes on to be, unless it came too late or is the one that serves.
        stand(&mut workflow, vec![(compiled("1"), "candidate 1", 0, "1"), (follows("3", 4), "candidate 1", 1, "3")]);
        stand(&mut workflow, vec![(Change::CheckBegins, "checking 1", 0, "3"), (overtaken("1"), "behind 1", 0, "3")]);
        stand(&mut workflow, vec![(refused("1"), "refused 1", 2, "3"), (follows("4", 8), "behind 1", 1, "4")]);
        stand(&mut workflow, vec![(compiled("1"), "candidate 1", 0, "4"), (follows("1", 8), "serving 1", 1, "1")]);
        // What is broken says so, whatever serves.
        stand(&mut workflow, vec![(broken("no"), "broken no", 1, "1"), (follows("5", 9), "broken no", 1, "5")]);
        // What cannot be read here says so until another one serves, and hides nothing of what is here.
        let unreadable = || Change::Unreadable { version: Version::from_digest("6"), error: "newer".into() };
        for (over, reports, start) in [(Change::Readable, 1, "1"), (follows("7", 9), 1, "7"), (follows("1", 9), 1, "1")]
        {
            let mut workflow = text("1");
            stand(&mut workflow, vec![(serves("1"), "serving 1", 1, "1"), (unreadable(), "serving 1", 1, "1")]);
            stand(&mut workflow, vec![(unreadable(), "serving 1", 0, "1")]);
            assert_eq!(workflow.error(), Some("newer"));
            let stage = if start == "7" { "behind 1" } else { "serving 1" };
            stand(&mut workflow, vec![(over, stage, reports, start)]);
            assert_eq!(workflow.error(), None);
        }
    }

    fn stand(workflow: &mut Workflow, steps: Vec<(Change, &str, usize, &str)>) {
        for (number, (change, after, reports, start)) in steps.into_iter().enumerate() {
            let told = workflow.transition("w", change).len();
            let gets = match workflow.for_start() {
                Some(Ok(serving)) => serving.version.as_str().to_owned(),
                _ => "-".into(),
            };
            assert_eq!((stage(workflow).as_str(), told, gets.as_str()), (after, reports, start), "change {number}");
        }
    }

    #[test]
    fn what_is_settled_is_not_done_again() {
        let mut workflow = Workflow::default();
        let one = Version::from_digest("1");
        assert!(!workflow.is_settled_at(&one));
        workflow.transition("w", serves("1"));
        assert!(workflow.is_settled_at(&one) && !workflow.is_under_way());
        workflow.transition("w", compiled("2"));
        assert!(!workflow.is_settled_at(&one) && workflow.is_under_way());
        assert!(workflow.awaits_check_of(&Version::from_digest("2")) && !workflow.awaits_check_of(&one));
        workflow.transition("w", refused("2"));
        assert!(workflow.is_settled_at(&Version::from_digest("2")) && workflow.blocking().is_some());
        workflow.transition("w", broken("no"));
        assert_eq!((workflow.error(), workflow.blocking().is_some()), (Some("no"), false));
    }
}
