//! The network between a host and the database, which fails in the ways that networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

/// What happens to what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    Works = 0,
    /// Connections are cut, and new ones too.
    Cut = 1,
    /// What hosts send arrives, and no answer does; nobody is told.
    HalfOpen = 2,
    /// Nothing arrives any more, and nobody is told.
    BlackHole = 3,
}

pub struct Proxy {
    port: u16,
    state: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// To this port.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (state, open) = (Arc::new(AtomicU8::new(0)), Arc::new(Mutex::new(Vec::new())));
        let proxy = Proxy { port, state: state.clone(), open: open.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // While the server is away, too, a connection that is refused is one that ends.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let copies = || [client.try_clone(), client.try_clone(), server.try_clone(), server.try_clone()];
                let [Ok(client_end), Ok(from), Ok(server_end), Ok(to)] = copies() else { continue };
                open.lock().extend([client_end, server_end]);
                let (asked, answered) = (state.clone(), state.clone());
                std::thread::spawn(move || pass(from, to, &asked, false));
                std::thread::spawn(move || pass(server, client, &answered, true));
            }
        });
        proxy
    }

    /// The same address, by this way.
    pub fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    pub fn become_(&self, network: Network) {
        self.state.store(network as u8, Ordering::SeqCst);
        if network == Network::Cut {
            self.open.lock().drain(..).for_each(|end| drop(end.shutdown(Shutdown::Both)));
        }
    }
}

/// One direction of a connection. From the first bytes on that are swallowed all are: what comes later would mean something else.
fn pass(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8, answers: bool) {
    let (mut bytes, mut swallows) = ([0; 1 << 16], false);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let state = state.load(Ordering::SeqCst);
        swallows |= state == Network::BlackHole as u8 || (answers && state == Network::HalfOpen as u8);
        if state == Network::Cut as u8 {
            break;
        }
        if !swallows && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
