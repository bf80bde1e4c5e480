//! What keeps strangers out and the server up, over real connections.

mod asking;
mod hooks;
mod page;
mod wire;
