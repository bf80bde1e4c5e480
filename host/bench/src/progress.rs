//! What is said to people while something is measured that takes long.

use std::time::{Duration, Instant};

/// Says one line.
pub type Say<'a> = &'a dyn Fn(&str);

/// How often at most.
const EVERY: Duration = Duration::from_secs(5);

/// Says now and then how much of something is done.
pub struct Progress<'a> {
    say: Say<'a>,
    /// What is done: `evicted`.
    what: &'a str,
    all: usize,
    said: Instant,
}

impl<'a> Progress<'a> {
    pub fn new(say: Say<'a>, what: &'a str, all: usize) -> Self {
        Progress { say, what, all, said: Instant::now() }
    }

    pub fn at(&mut self, done: usize) {
        if self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            (self.say)(&format!("{}: {done} of {} runs …", self.what, self.all));
        }
    }
}
