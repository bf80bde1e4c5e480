//! The server of the command line: connections, how many there are, how long they take, and their end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use durhai::Host;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::pace::{AtWork, Holding, Paced};
use crate::problem::{Problem, ProblemKind};
use crate::routes::router_until;
use crate::{Config, Limits};

/// Connections over the limit that are told so at once; others are just closed.
const TURNED_AWAY: usize = 64;

/// How long one that is told so has to read it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// After an error that is not the client's: files or memory have run out, and may be back then.
const BREATH: Duration = Duration::from_millis(200);

/// Characters that a token needs where other machines can try to guess it.
const STRONG: usize = 16;

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everybody who reaches this address could run what they like.
    #[error(
        "{0} can be reached from other machines, and there is no token: give one with --token-file or DURHAI_TOKEN, \
         or listen on 127.0.0.1"
    )]
    NoToken(SocketAddr),
    /// Everybody who reaches this address could guess it.
    #[error(
        "{0} can be reached from other machines, and a token has fewer than {STRONG} characters: make one with \
         `openssl rand -hex 16`, or listen on 127.0.0.1"
    )]
    WeakToken(SocketAddr),
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves the API and the page until `shutdown` resolves. Then live streams end, idle connections are closed, and open
/// requests are waited for, [`Limits::drain_time`] at most. HTTP/1.1 and 1.0, without TLS.
pub async fn serve(
    host: Host,
    listener: TcpListener,
    mut config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    config.may_listen(address)?;
    config.listen = Some(address);
    let close = watch::Sender::new(false);
    let limits = config.limits.clone();
    let router = router_until(host, config, close.clone());
    run(listener, router, limits, close, shutdown).await;
    Ok(())
}

impl Config {
    /// Whether this address may be listened on. Beyond loopback a token is needed, and not a short one.
    pub fn may_listen(&self, address: SocketAddr) -> Result<(), ServeError> {
        match &self.token {
            _ if address.ip().to_canonical().is_loopback() => Ok(()),
            None => Err(ServeError::NoToken(address)),
            Some(token) if token.shortest() < STRONG => Err(ServeError::WeakToken(address)),
            Some(_) => Ok(()),
        }
    }
}

async fn run(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    close: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let doorstep = Arc::new(Semaphore::new(TURNED_AWAY));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Those that ended leave the set; one that panicked ended, too.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !is_of_client(&error) {
                    sleep(BREATH).await;
                }
                continue;
            }
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            let talk = talk(stream, router.clone(), limits.clone(), close.subscribe());
            connections.spawn(async move {
                talk.await;
                drop(place);
            });
        } else if let Ok(place) = doorstep.clone().try_acquire_owned() {
            let full = format!("{} connections are open already; close one, or try again", limits.connections);
            connections.spawn(async move {
                // In vain, if the client does not read it.
                let _ = timeout(LAST_WORDS, turn_away(stream, full)).await;
                drop(place);
            });
        }
    }
    // From here on nobody can connect.
    drop(listener);
    close.send_replace(true);
    // What is not done by then is cut.
    let _ = timeout(limits.drain_time, async { while connections.join_next().await.is_some() {} }).await;
}

/// It had gone before it was accepted.
fn is_of_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// One connection, until one side closes it.
async fn talk(stream: TcpStream, router: Router, limits: Limits, mut closing: watch::Receiver<bool>) {
    // Small messages go out at once; without that they are just later.
    let _ = stream.set_nodelay(true);
    let at_work = AtWork::default();
    let io = TokioIo::new(Paced::new(stream, at_work.clone(), &limits));
    let service = service_fn(move |request: Request<Incoming>| {
        let working = at_work.begin();
        let answer = router.clone().call(request.map(Body::new));
        async move {
            let response: Response<Body> = answer.await?;
            Ok::<_, Infallible>(response.map(|body| Holding::new(body, working)))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle_time);
    http.max_header_size(limits.head_bytes).max_buf_size(limits.head_bytes.max(64 << 10)).max_headers(limits.headers);
    let mut connection = pin!(http.serve_connection(io, service));
    tokio::select! {
        // Whatever broke it off is the client's affair.
        _ = connection.as_mut() => return,
        // Closing, or nobody is left to say so.
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Says that there is no place.
async fn turn_away(mut stream: TcpStream, detail: String) -> std::io::Result<()> {
    let problem = serde_json::to_string(&Problem::new(ProblemKind::Busy, detail))?;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{problem}",
        problem.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // A connection that is closed over unread bytes is reset, and the answer is lost with it.
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
