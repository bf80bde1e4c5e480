//! What keeps strangers out and the server up, over real connections.

mod asking;
mod ending;
mod framing;
mod hooks;
mod limits;
mod page;
pub mod wire;
