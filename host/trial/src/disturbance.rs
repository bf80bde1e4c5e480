//! What is done to the host during one repetition of a test.

use std::fmt;
use std::str::FromStr;

use durhai_testkit::Fault;

/// What is done to the host during one repetition of a test. Writes are counted from 1: runs that are created, turns that
/// bring events, messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disturbance {
    #[default]
    None,
    /// Runs are dropped from memory whenever they wait, and rebuilt from their logs.
    Evicted,
    /// The host dies in front of that write: nothing of it is stored.
    CrashBefore(u64),
    /// The host dies behind it: it is stored, and the host does not learn of it.
    CrashAfter(u64),
}

impl Disturbance {
    pub(crate) fn fault(self) -> Fault {
        match self {
            Disturbance::None | Disturbance::Evicted => Fault::Never,
            Disturbance::CrashBefore(write) => Fault::Before(write),
            Disturbance::CrashAfter(write) => Fault::After(write),
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disturbance::None => f.write_str("undisturbed"),
            Disturbance::Evicted => f.write_str("evicted"),
            Disturbance::CrashBefore(write) => write!(f, "crash before {write}"),
            Disturbance::CrashAfter(write) => write!(f, "crash after {write}"),
        }
    }
}

impl FromStr for Disturbance {
    type Err = String;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse().ok().filter(|number| *number > 0);
        let found = match text.trim() {
            "undisturbed" => Some(Disturbance::None),
            "evicted" => Some(Disturbance::Evicted),
            text => match (text.strip_prefix("crash before "), text.strip_prefix("crash after ")) {
                (Some(rest), _) => number(rest).map(Disturbance::CrashBefore),
                (_, Some(rest)) => number(rest).map(Disturbance::CrashAfter),
                _ => None,
            },
        };
        found.ok_or_else(|| {
            format!("{text:?} is no repetition: write undisturbed, evicted, 'crash before 7' or 'crash after 7'")
        })
    }
}
