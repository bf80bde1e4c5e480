//! News between hosts: a message was sent to a run that another host holds, or a run became due in a process that claims nothing.
//!
//! They are sent after the commit, on a connection of their own, and gathered: within the transaction that writes, each would wait for
//! the disk under a lock of the whole server. They are hints. One that is lost is found by those who look now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durhai_core::RunId;
use durhai_world::{Notice, Watcher};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::types::Type;

use crate::server::Server;

/// How long the thread waits before it connects again.
const AGAIN: Duration = Duration::from_millis(500);

/// Signs that are sent in one statement.
const AT_ONCE: usize = 1_000;

/// Those of this process who want to hear of something.
#[derive(Default)]
pub struct Watchers(Mutex<Vec<Watcher>>);

impl Watchers {
    pub fn add(&self, watcher: Watcher) {
        self.0.lock().push(watcher);
    }

    pub fn tell(&self, notices: impl IntoIterator<Item = Notice>) {
        let watchers = self.0.lock().clone();
        for notice in notices {
            watchers.iter().for_each(|watcher| watcher(notice.clone()));
        }
    }
}

/// What the thread is asked for.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ring {
    /// This process is that host from now on, and hears what is for it.
    Listen(i32),
    /// A message waits for a run that this host holds.
    Message(i32, String),
    /// A run that no host holds is due.
    Due,
}

/// The way to the thread, which ends when this is dropped.
pub struct Bell {
    server: Arc<Server>,
    watchers: Arc<Watchers>,
    closed: Arc<AtomicBool>,
    thread: Mutex<Option<UnboundedSender<Ring>>>,
}

impl Bell {
    pub fn new(server: &Arc<Server>, watchers: &Arc<Watchers>, closed: &Arc<AtomicBool>) -> Self {
        Bell { server: server.clone(), watchers: watchers.clone(), closed: closed.clone(), thread: Mutex::default() }
    }

    /// Asks the thread, which is there from the first time on.
    pub fn ring(&self, ring: Ring) {
        let mut thread = self.thread.lock();
        if thread.as_ref().is_none_or(UnboundedSender::is_closed) {
            let (tx, rx) = unbounded_channel();
            let ringing = Ringing {
                server: self.server.clone(),
                watchers: self.watchers.clone(),
                closed: self.closed.clone(),
                own: BTreeSet::new(),
                rx,
            };
            if std::thread::Builder::new().name("durhai-bell".into()).spawn(move || ringing.run()).is_err() {
                return;
            }
            *thread = Some(tx);
        }
        if let Some(thread) = &*thread {
            let _ = thread.send(ring);
        }
    }
}

struct Ringing {
    server: Arc<Server>,
    watchers: Arc<Watchers>,
    closed: Arc<AtomicBool>,
    own: BTreeSet<i32>,
    rx: UnboundedReceiver<Ring>,
}

impl Ringing {
    fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            while !self.closed.load(Ordering::Relaxed) {
                match self.connected().await {
                    Ended::Dropped => return,
                    Ended::Lost(why) => tracing::debug!("news between hosts are not heard for a moment: {why}"),
                }
                tokio::time::sleep(AGAIN).await;
                // Nobody is told of what came meanwhile: it is found by looking.
                while let Ok(ring) = self.rx.try_recv() {
                    if let Ring::Listen(host) = ring {
                        self.own.insert(host);
                    }
                }
            }
        });
        runtime.shutdown_background();
    }

    /// As long as a connection lasts.
    async fn connected(&mut self) -> Ended {
        let (heard, mut news) = unbounded_channel();
        let (client, driver) = match self.server.connect(Some(heard)).await {
            Ok(connected) => connected,
            Err(failure) => return Ended::Lost(failure.why().to_owned()),
        };
        let driver = tokio::spawn(driver);
        let mut listening = vec![due_channel(&self.server)];
        listening.extend(self.own.iter().map(|host| host_channel(&self.server, *host)));
        let mut all: Vec<String> = listening.iter().map(|channel| format!("listen {channel}")).collect();
        if self.server.pooling.is_direct() {
            // It is idle until something happens.
            all.push("set idle_session_timeout = 0".to_owned());
        }
        if let Err(error) = client.batch_execute(&all.join(";")).await {
            return Ended::Lost(error.to_string());
        }
        // What came before is found by looking.
        self.watchers.tell([Notice::Due]);
        let ended = loop {
            tokio::select! {
                ring = self.rx.recv() => {
                    let Some(first) = ring else { break Ended::Dropped };
                    let mut gathered = BTreeSet::from([first]);
                    while gathered.len() < AT_ONCE && let Ok(ring) = self.rx.try_recv() {
                        gathered.insert(ring);
                    }
                    if let Err(error) = self.send(&client, gathered).await {
                        break Ended::Lost(error.to_string());
                    }
                }
                heard = news.recv() => match heard {
                    Some(heard) => self.watchers.tell([notice(heard.payload())]),
                    None => break Ended::Lost("the connection is over".into()),
                },
            }
        };
        driver.abort();
        ended
    }

    async fn send(
        &mut self,
        client: &tokio_postgres::Client,
        rings: BTreeSet<Ring>,
    ) -> Result<(), tokio_postgres::Error> {
        let (mut channels, mut texts) = (Vec::new(), Vec::new());
        for ring in rings {
            match ring {
                Ring::Listen(host) => {
                    self.own.insert(host);
                    client.batch_execute(&format!("listen {}", host_channel(&self.server, host))).await?;
                }
                Ring::Message(host, run) => {
                    channels.push(host_channel(&self.server, host));
                    texts.push(run);
                }
                Ring::Due => {
                    channels.push(due_channel(&self.server));
                    texts.push(String::new());
                }
            }
        }
        if !channels.is_empty() {
            let sql = "select pg_notify(c, t) from unnest($1::text[], $2::text[]) x(c, t)";
            client.query_typed(sql, &[(&channels, Type::TEXT_ARRAY), (&texts, Type::TEXT_ARRAY)]).await?;
        }
        Ok(())
    }
}

enum Ended {
    /// The world is gone.
    Dropped,
    Lost(String),
}

/// What a payload tells: the id of a run with a message, or nothing.
fn notice(payload: &str) -> Notice {
    match RunId::new(payload) {
        Ok(run) => Notice::Message(run),
        Err(_) => Notice::Due,
    }
}

fn due_channel(server: &Server) -> String {
    format!("durhai_{}_due", mark(server))
}

fn host_channel(server: &Server, host: i32) -> String {
    format!("durhai_{}_{host}", mark(server))
}

/// Channels are the database's, not a schema's.
fn mark(server: &Server) -> String {
    let digest = Sha256::digest(server.schema());
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
