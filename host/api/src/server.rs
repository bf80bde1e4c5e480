//! The server of the command line.

use std::future::Future;
use std::time::Duration;

use durhai::Host;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::Config;
use crate::routes::router_until;

/// How long open requests are waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everybody who reaches this address could run what they like.
    #[error(
        "{0} can be reached from other machines, and there is no token: give one with --token-file or DURHAI_TOKEN, \
         or listen on 127.0.0.1"
    )]
    NoToken(std::net::SocketAddr),
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves the API until `shutdown` resolves; then live streams end and open requests are waited for, 5 seconds at most.
pub async fn serve(
    host: Host,
    listener: TcpListener,
    mut config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && config.token.is_none() {
        return Err(ServeError::NoToken(address));
    }
    config.listen = Some(address);
    let close = watch::Sender::new(false);
    let mut begun = close.subscribe();
    let server = axum::serve(listener, router_until(host, config, close.clone())).with_graceful_shutdown(async move {
        // An error means that the other side is gone, which is as good as closing.
        let _ = begun.wait_for(|closing| *closing).await;
    });
    let stopping = async move {
        shutdown.await;
        close.send_replace(true);
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        done = async { server.await } => Ok(done?),
        () = stopping => Ok(()),
    }
}
