//! What keeps strangers out and the server up, over real connections.

mod page;
mod wire;
