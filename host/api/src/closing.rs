//! The end of a server, told to what would go on without end.

use tokio::sync::watch;

/// Ends the live streams of a [`router`](crate::router), so that a server of one's own can end gracefully: it waits for open
/// requests, and those that follow a run or the host have no end of their own.
///
/// ```no_run
/// # async fn demo(host: durhai::Host, listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
/// let config = durhai_api::Config::default();
/// let closing = config.closing.clone();
/// let app = app.nest_service("/durhai", durhai_api::router(host.clone(), config));
/// let stop = async move {
///     let _ = tokio::signal::ctrl_c().await;
///     closing.close();
/// };
/// axum::serve(listener, app).with_graceful_shutdown(stop).await?;
/// host.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// Clones are one and the same. Streams also end when the host does.
#[derive(Debug, Clone, Default)]
pub struct Closing(watch::Sender<bool>);

impl Closing {
    pub fn new() -> Self {
        Closing::default()
    }

    /// Ends what is followed now, and what a client begins to follow later.
    pub fn close(&self) {
        self.0.send_replace(true);
    }

    pub fn is_closed(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it is closed.
    pub async fn closed(&self) {
        // It cannot fail: the sender is here.
        let _ = self.0.subscribe().wait_for(|closed| *closed).await;
    }
}
