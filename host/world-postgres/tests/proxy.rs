//! A way to the server on which answers get lost.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Passes everything on, until it is told to swallow an answer.
pub struct Proxy {
    port: u16,
    swallow: Arc<AtomicBool>,
}

impl Proxy {
    /// To this port.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let swallow = Arc::new(AtomicBool::new(false));
        let told = swallow.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { continue };
                let pair = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
                let Some((from, to)) = pair() else { continue };
                std::thread::spawn(move || pass(from, to, || false));
                let told = told.clone();
                std::thread::spawn(move || pass(server, client, || told.swap(false, Ordering::SeqCst)));
            }
        });
        Proxy { port, swallow }
    }

    /// The same address, by this way.
    pub fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// The next answer, whatever it is to, does not come: the server has given it, and the connection ends.
    pub fn swallow(&self) {
        self.swallow.store(true, Ordering::SeqCst);
    }

    pub fn has_swallowed(&self) -> bool {
        !self.swallow.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, cut: impl Fn() -> bool) {
    let mut bytes = [0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if cut() || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
