//! A server on a free port, and connections on which a test writes bytes.

use std::net::SocketAddr;

use durhai::{Host, Value};
use durhai_api::{Config, ServeError, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A host that is served until it is stopped.
pub struct Served {
    pub host: Host,
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Served {
    pub async fn new(host: Host, config: Config) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(host.clone(), listener, config, shutdown));
        Served { host, address, stop, task }
    }

    pub async fn with(config: Config) -> Served {
        let host = Host::builder().workflow("one", "1").workflow("waits", "wait_for(\"go\")");
        Served::new(host.start().await.expect("a host"), config).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends bytes on a connection of their own, and reads until the server closes it.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = self.connect().await;
        // A server that has seen enough may have closed it already.
        let _ = stream.write_all(bytes.as_ref()).await;
        read_all(&mut stream).await
    }

    /// One request with these lines behind its first two; the server is asked to close.
    pub async fn ask(&self, first: &str, lines: &[&str]) -> Answer {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let host = self.address;
        let bytes = self.send(format!("{first} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{lines}\r\n")).await;
        Answer::read(&bytes)
    }

    pub async fn stop(self) -> Result<(), ServeError> {
        let _ = self.stop.send(());
        let ended = self.task.await.expect("the server does not panic");
        self.host.shutdown().await;
        ended
    }
}

/// Until the other side has closed it; one that breaks it off has closed it too.
pub async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// Reads until this has come.
pub async fn read_until(stream: &mut TcpStream, needle: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while !bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
        let count = stream.read(&mut piece).await.expect("the connection holds");
        assert_ne!(count, 0, "no {needle:?} in {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..count]);
    }
    bytes
}

/// Asks on a connection that stays open, for an answer whose length is told.
pub async fn ask_on(stream: &mut TcpStream, first: &str) -> Answer {
    stream.write_all(format!("{first} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.expect("sent");
    let mut answer = Answer::read(&read_until(stream, "\r\n\r\n").await);
    let length: usize = answer.header("content-length").expect("a length").parse().expect("a number");
    let mut rest = vec![0; length - answer.body.len()];
    stream.read_exact(&mut rest).await.expect("the body");
    answer.body.extend(rest);
    answer
}

impl Answer {
    /// The first one of what a connection brought, with a body of known length or one that ends with the connection.
    pub fn read(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status").parse().expect("a number");
        let headers: Vec<_> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header");
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// The name of the problem that the body is.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(problem["status"], self.status);
        problem["type"].as_str().expect("a type").replace("urn:durhai:problem:", "")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
