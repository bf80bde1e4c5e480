//! Whether a pooler stands before the server that gives each transaction another session, as PgBouncer does in transaction mode.
//!
//! There a statement that was prepared is not there the next time, or is another one: names of statements are the same in all
//! processes. So none is prepared before it is known that sessions are our own. The server tells how long a session has been there: one that
//! is older than the connection was somebody else's before. The first connection may get a fresh one from a pooler, too; the second one gets
//! what the first has used.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// What clocks of two machines may differ by within the time it takes to connect.
const INEXACT: Duration = Duration::from_millis(1);

const UNKNOWN: u8 = 0;
const ONE_IS_NEW: u8 = 1;
const DIRECT: u8 = 2;
const POOLED: u8 = 3;

#[derive(Default)]
pub struct Pooling(AtomicU8);

impl Pooling {
    /// A connection began so long ago; its session is that old.
    pub fn learn(&self, connection: Duration, session: Option<Duration>) {
        // Where the server does not tell, nobody is known to share it.
        let older = session.is_some_and(|session| session > connection + connection / 100 + INEXACT);
        let learned = |known| match known {
            POOLED => None,
            _ if older => Some(POOLED),
            UNKNOWN => Some(ONE_IS_NEW),
            _ => Some(DIRECT),
        };
        // Two that learn at once both count.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learned);
    }

    /// Sessions are our own for as long as their connections last.
    pub fn is_direct(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DIRECT
    }

    pub fn is_pooled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == POOLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_older_than_its_connection_is_a_poolers() {
        let ms = |ms| Duration::from_millis(ms);
        for (sessions, direct, pooled) in [
            (vec![], false, false),
            (vec![9], false, false),
            (vec![9, 9], true, false),
            (vec![9, 10, 8], true, false),
            (vec![30], false, true),
            (vec![9, 30], false, true),
            (vec![9, 9, 30], false, true),
            (vec![30, 9, 9, 9], false, true),
        ] {
            let pooling = Pooling::default();
            sessions.iter().for_each(|session| pooling.learn(ms(10), Some(ms(*session))));
            assert_eq!((pooling.is_direct(), pooling.is_pooled()), (direct, pooled), "{sessions:?}");
        }
    }
}
