//! A server that does to the letter what a test wants, also what no decent server does.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// On a port of its own on loopback; one request a connection.
pub struct Server {
    pub port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

type Replies = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

struct State {
    reply: Box<Replies>,
    seen: Mutex<Vec<Seen>>,
    /// One permit for each request that came.
    came: Semaphore,
    /// One for each client that went away while it was waiting.
    left: Semaphore,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

pub enum Reply {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, then nothing until the client goes away.
    Begun(Vec<u8>),
    /// Nothing, until the client goes away.
    Silence,
}

impl Server {
    /// `reply` is given each request, and how many came before it.
    pub async fn start(reply: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Server {
        Server::with(None, reply).await
    }

    pub async fn with(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state =
            State { reply: Box::new(reply), seen: Mutex::default(), came: Semaphore::new(0), left: Semaphore::new(0) };
        let state = Arc::new(state);
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), shared.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that does not like the certificate ends the handshake.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &state).await,
                            Err(_) => None,
                        },
                        None => serve(stream, &state).await,
                    }
                });
            }
        });
        Server { port, state, task }
    }

    /// Always the same answer.
    pub async fn always(status: u16, headers: &[(&str, &str)], body: &str) -> Server {
        let bytes = written(status, headers, body.as_bytes());
        Server::start(move |_, _| Reply::Bytes(bytes.clone())).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    /// Waits until one more request has come.
    pub async fn came(&self) {
        self.state.came.acquire().await.unwrap().forget();
    }

    /// Waits until one more client has gone away unanswered.
    pub async fn left(&self) {
        self.state.left.acquire().await.unwrap().forget();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.as_str())
    }
}

/// An answer with its length, unless the headers name another one.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    Reply::Bytes(written(status, headers, body.as_ref()))
}

pub fn written(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Text\r\nconnection: close\r\n");
    let own = headers.iter().any(|(name, _)| ["content-length", "transfer-encoding"].contains(name));
    if !own && ![204, 304].contains(&status) {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [(head + "\r\n").as_bytes(), body].concat()
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> Option<()> {
    let seen = read(&mut stream).await?;
    let before = {
        let mut all = state.seen.lock();
        all.push(seen.clone());
        all.len() - 1
    };
    state.came.add_permits(1);
    match (state.reply)(&seen, before) {
        Reply::Bytes(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()
        }
        Reply::Begun(bytes) => {
            // Fails only where the client has gone already.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            wait_for_the_end(&mut stream, state).await
        }
        Reply::Silence => wait_for_the_end(&mut stream, state).await,
    }
}

async fn wait_for_the_end(stream: &mut (impl AsyncRead + Unpin), state: &State) -> Option<()> {
    while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
    state.left.add_permits(1);
    Some(())
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into()));
    let mut seen =
        Seen { method: first.next()?, target: first.next()?, headers: headers.collect(), body: String::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Some(seen)
}
