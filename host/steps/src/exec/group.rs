//! The processes that a program started, with the program.

use tokio::process::Child;

/// Killed when it is dropped.
#[derive(Debug)]
pub struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

#[cfg(unix)]
impl Group {
    pub fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        Group { leader }
    }

    /// Asks each of them to end.
    pub fn ask(&self) {
        self.send(rustix::process::Signal::TERM);
    }

    /// Ends each of them. Only once: when all are gone their number may belong to others.
    pub fn kill(&mut self) {
        self.send(rustix::process::Signal::KILL);
        self.leader = None;
    }

    fn send(&self, signal: rustix::process::Signal) {
        if let Some(leader) = self.leader {
            // Fails where there is none left.
            let _ = rustix::process::kill_process_group(leader, signal);
        }
    }
}

/// Elsewhere the program itself is all that is ended, by its handle.
#[cfg(not(unix))]
impl Group {
    pub fn of(_child: &Child) -> Self {
        Group {}
    }

    pub fn ask(&self) {}

    pub fn kill(&mut self) {}
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
