//! Exit codes, and which error leads to which.

use std::fmt::Display;
use std::process::ExitCode;

use durhai::{FailureKind, HostError, Status, WorldError};
use durhai_api::{Problem, ProblemKind, ServeError};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    Done = 0,
    /// The run failed, was cancelled or is parked; the doctor found something.
    Failed = 1,
    /// The command makes no sense as it is: options, JSON, a script that does not compile.
    Usage = 2,
    NotFound = 3,
    /// The host or the store cannot be reached, is held by another process or is damaged.
    Unreachable = 4,
    Interrupted = 130,
}

/// Why a command did not do what it was asked: what to print, and how to exit.
#[derive(Debug, PartialEq)]
pub struct Fail {
    pub exit: Exit,
    pub message: String,
}

/// What a command comes to.
pub type Outcome = Result<Exit, Fail>;

impl Exit {
    /// By the status of a run that was waited for.
    pub fn of(status: Status) -> Exit {
        match status {
            Status::Failed | Status::Cancelled | Status::Parked => Exit::Failed,
            _ => Exit::Done,
        }
    }

    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

impl Fail {
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Fail { exit, message: message.to_string() }
    }

    pub fn usage(message: impl Display) -> Self {
        Fail::new(Exit::Usage, message)
    }

    pub fn not_found(message: impl Display) -> Self {
        Fail::new(Exit::NotFound, message)
    }

    pub fn unreachable(message: impl Display) -> Self {
        Fail::new(Exit::Unreachable, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.message = format!("{}\n{hint}", self.message);
        self
    }
}

impl From<HostError> for Fail {
    fn from(error: HostError) -> Self {
        let exit = match &error {
            HostError::NotFound(_) => Exit::NotFound,
            HostError::Invalid(_)
            | HostError::Conflict(_)
            | HostError::Script(_)
            | HostError::World(WorldError::Invalid(_)) => Exit::Usage,
            HostError::World(_) | HostError::Closed => Exit::Unreachable,
        };
        Fail::new(exit, error)
    }
}

impl From<WorldError> for Fail {
    fn from(error: WorldError) -> Self {
        HostError::from(error).into()
    }
}

impl From<Problem> for Fail {
    fn from(problem: Problem) -> Self {
        let exit = match problem.kind {
            ProblemKind::NotFound => Exit::NotFound,
            ProblemKind::Invalid
            | ProblemKind::Conflict
            | ProblemKind::Script
            | ProblemKind::TooLarge
            | ProblemKind::Method
            | ProblemKind::MediaType => Exit::Usage,
            ProblemKind::StepFailed => Exit::Failed,
            ProblemKind::Unauthorized | ProblemKind::Forbidden => Exit::Unreachable,
            ProblemKind::Timeout
            | ProblemKind::Internal
            | ProblemKind::Busy
            | ProblemKind::Locked
            | ProblemKind::Unavailable
            | ProblemKind::Corrupt
            | ProblemKind::Closed => Exit::Unreachable,
        };
        let hint = match problem.kind {
            ProblemKind::Unauthorized => "\nSet DURHAI_TOKEN to the token of the host.",
            _ => "",
        };
        Fail::new(exit, format!("{}{hint}", problem.detail))
    }
}

impl From<ServeError> for Fail {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::NoToken(address) => Fail::usage(format!(
                "{address} can be reached from other machines, and there is no token: give one with --token-file or \
                 DURHAI_TOKEN, or listen on 127.0.0.1"
            )),
            ServeError::WeakToken(_) => Fail::usage(error),
            ServeError::Io(_) => Fail::unreachable(error),
        }
    }
}

/// How a step that was called by hand and failed ends the process.
pub fn of_step(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::UnknownStep => Exit::NotFound,
        FailureKind::InvalidInput => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_a_host_has_its_code_here_and_over_http() {
        type Make = fn() -> HostError;
        let cases: [(Make, Exit); 8] = [
            (|| HostError::Invalid("x".into()), Exit::Usage),
            (|| HostError::NotFound("x".into()), Exit::NotFound),
            (|| HostError::Conflict("x".into()), Exit::Usage),
            (|| HostError::Script("x".into()), Exit::Usage),
            (|| HostError::World(WorldError::Locked("x".into())), Exit::Unreachable),
            (|| HostError::World(WorldError::Unavailable("x".into())), Exit::Unreachable),
            (|| HostError::World(WorldError::Corrupt("x".into())), Exit::Unreachable),
            (|| HostError::Closed, Exit::Unreachable),
        ];
        for (make, exit) in cases {
            assert_eq!(Fail::from(make()).exit, exit);
            assert_eq!(Fail::from(Problem::from(make())).exit, exit, "{:?}", make());
        }
    }

    #[test]
    fn runs_exit_by_their_status() {
        for status in Status::ALL {
            let failed = matches!(status, Status::Failed | Status::Cancelled | Status::Parked);
            assert_eq!(Exit::of(status) == Exit::Failed, failed, "{status}");
        }
        assert_eq!(Exit::Interrupted as u8, 130);
    }
}
