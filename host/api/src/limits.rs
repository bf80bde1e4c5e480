//! How much one server takes on at once, and how long it waits for others.

use std::time::Duration;

/// The limits of a server. Those of connections count where [`serve`](crate::serve) has the connections; the others also
/// for a [`router`](crate::router).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Request line and headers together, in bytes; at least 8192 can be sent. More is answered 431.
    pub head_bytes: usize,
    /// Headers of a request. More are answered 431.
    pub headers: usize,
    /// For a whole head, from its first byte or the beginning of the connection. Then the connection is closed.
    pub head_time: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_time: Duration,
    /// A request body, in bytes, where it is not streamed. A larger one is answered 413.
    pub body_bytes: usize,
    /// Between two pieces of a request body. Then the request is answered 408.
    pub body_pause: Duration,
    /// For a whole request body, except that of an import. Then the request is answered 408.
    pub body_time: Duration,
    /// How long a client may not take any byte of its answer. Then the connection is cut.
    pub stall_time: Duration,
    /// Connections at once. One more is answered 503 and closed.
    pub connections: usize,
    /// Answers at once that are streamed: live events, exports, backups, traces. One more is answered 503.
    pub streams: usize,
    /// Requests at once that are worked on, streams not counted.
    pub requests: usize,
    /// How long one more request waits for its turn. Then it is answered 503.
    pub turn_time: Duration,
    /// How long open requests are waited for when the server stops.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 16 << 10,
            headers: 100,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            body_bytes: crate::BODY_LIMIT,
            body_pause: Duration::from_secs(10),
            body_time: Duration::from_secs(120),
            stall_time: Duration::from_secs(60),
            connections: 1024,
            streams: 256,
            requests: 256,
            turn_time: Duration::from_secs(10),
            drain_time: Duration::from_secs(5),
        }
    }
}
