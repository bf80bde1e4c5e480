//! The HTTP API of durhai: JSON under `/api/v1`, live events by SSE, errors as RFC 9457 problem documents.
//!
//! [`router`] is everything for a server of one's own; [`serve`] is the server that the command line uses.
//!
//! ```no_run
//! # async fn demo(host: durhai::Host) -> Result<(), durhai_api::ServeError> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7788").await.expect("the port is free");
//! durhai_api::serve(host, listener, durhai_api::Config::default(), std::future::pending()).await
//! # }
//! ```
//!
//! Who is refused: without a token only loopback is served, and a request must name this host in its `Host`
//! header (so a web page cannot reach it by DNS rebinding), must not come from a page of another origin unless that was
//! allowed, and must say `application/json` when it brings a body. No other page is sent a CORS header.
//! [`Limits`] refuse clients that ask too much, too slowly, or do not read the answer; those of connections are [`serve`]'s.
//!
//! `/hooks/TOKEN` is for strangers: there the hook's own token is all it takes, in any method and with any body.

mod app;
mod authority;
mod capacity;
mod closing;
mod config;
mod cut;
mod extract;
mod feed;
mod front;
mod guard;
mod idempotency;
mod limits;
mod openapi;
mod overload;
mod pace;
mod page;
mod problem;
mod routes;
mod server;
mod token;

pub use closing::Closing;
pub use config::Config;
pub use feed::{Feed, Item, Want};
pub use limits::Limits;
pub use problem::{PROBLEMS, Problem, ProblemKind};
pub use routes::{Migrating, Purging, Started, router};
pub use server::{ServeError, serve};
pub use token::Token;

/// The largest request body if nothing else is said, in bytes.
pub const BODY_LIMIT: usize = 4 << 20;
