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
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::pace::{AtWork, Holding, Paced};
use crate::problem::{Problem, ProblemKind};
use crate::routes::whole;
use crate::{Closing, Config, Limits};

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
        "{0} can be reached from other machines, and there is no token: set one in `Config::token`, or listen on 127.0.0.1"
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
    let (limits, closing) = (config.limits.clone(), config.closing.clone());
    run(listener, whole(host, config), limits, closing, shutdown).await;
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
    closing: Closing,
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
            let talk = talk(stream, router.clone(), limits.clone(), closing.clone());
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
    // From here on no client can connect.
    drop(listener);
    closing.close();
    // What is not done by then is cut.
    let _ = timeout(limits.drain_time, async { while connections.join_next().await.is_some() {} }).await;
}

/// It had gone before it was accepted.
fn is_of_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// One connection, until one side closes it.
async fn talk(stream: TcpStream, router: Router, limits: Limits, closing: Closing) {
    // Small messages go out at once; without that they are just later.
    let _ = stream.set_nodelay(true);
    let at_work = AtWork::default();
    let io = TokioIo::new(Paced::new(stream, at_work.clone(), &limits));
    let works = at_work.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let working = works.begin();
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
        () = closing.closed() => at_work.end(),
    }
    connection.as_mut().graceful_shutdown();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::body::Bytes;
    use axum::routing::get;
    use futures_util::stream;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;
    use crate::overload::panicked;

    const NEVER: Duration = Duration::from_secs(3600);

    async fn served(router: Router, limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(run(listener, router, limits, Closing::new(), std::future::pending()));
        address
    }

    /// Asks, and reads until the server closes.
    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        // One that is broken off has ended, too.
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Tells when a body is dropped.
    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_does_not_read_is_cut_and_holds_little() {
        const PIECE: usize = 64 << 10;
        let made = Arc::new(AtomicUsize::new(0));
        let gone = Arc::new(AtomicBool::new(false));
        let flood = {
            let (made, gone) = (made.clone(), gone.clone());
            move || {
                let state = (made.clone(), Dropped(gone.clone()));
                let pieces = stream::unfold(state, |(made, dropped)| async move {
                    made.fetch_add(1, Ordering::SeqCst);
                    Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; PIECE])), (made, dropped)))
                });
                std::future::ready(Body::from_stream(pieces))
            }
        };
        let router = Router::new().route("/flood", get(flood)).route("/other", get(|| async { "other" }));
        let limits = Limits { stall_time: Duration::from_millis(200), ..Limits::default() };
        let address = served(router, limits).await;
        let mut stalled = TcpStream::connect(address).await.expect("a connection");
        stalled.write_all(b"GET /flood HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        // Others are served meanwhile, until the flood is cut.
        while !gone.load(Ordering::SeqCst) {
            assert!(ask(address, "/other").await.ends_with("other"));
        }
        // What the sockets of both sides took, and one buffer: never what could have been made.
        let pieces = made.load(Ordering::SeqCst);
        assert!(pieces * PIECE < 64 << 20, "{pieces} pieces were made for a client that reads nothing");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_reads_slowly_is_not_cut() {
        let limits = Limits { stall_time: Duration::from_millis(300), ..Limits::default() };
        let big = || async { vec![b'x'; 32 << 20] };
        let address = served(Router::new().route("/", get(big)), limits).await;
        let mut slow = TcpStream::connect(address).await.expect("a connection");
        slow.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("sent");
        let mut piece = vec![0; 1 << 20];
        let mut count = 0;
        loop {
            match slow.read(&mut piece).await.expect("it is not cut") {
                0 => break,
                read => count += read,
            }
            sleep(Duration::from_millis(5)).await;
        }
        assert!(count > 32 << 20, "{count}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_one_clients_affair() {
        async fn breaks() -> &'static str {
            panic!("the secret of a handler")
        }
        let breaks_later = || async {
            Body::from_stream(stream::unfold(0, |count| async move {
                assert_eq!(count, 0, "a body may break, too");
                Some((Ok::<_, Infallible>("first"), 1))
            }))
        };
        let router = Router::new()
            .route("/breaks", get(breaks))
            .route("/later", get(breaks_later))
            .route("/works", get(|| async { "works" }))
            .layer(CatchPanicLayer::custom(panicked));
        let limits = Limits { connections: 1, idle_time: NEVER, ..Limits::default() };
        let address = served(router, limits).await;
        for _ in 0..3 {
            let answer = until_served(address, "/breaks").await;
            assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("urn:durhai:problem:internal"), "{answer}");
            assert!(!answer.contains("secret"), "{answer}");
            let answer = until_served(address, "/later").await;
            assert!(!answer.ends_with("0\r\n\r\n"), "it is broken off: {answer:?}");
            assert!(until_served(address, "/works").await.ends_with("works"));
        }
    }

    /// The one place may not have been given back yet.
    async fn until_served(address: SocketAddr, path: &str) -> String {
        loop {
            let answer = ask(address, path).await;
            if !answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
        }
    }
}
