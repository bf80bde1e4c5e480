//! A PostgreSQL database in which steps do their work: the world's own, or any other.
//!
//! Each transaction has a connection for itself. Connections are kept for the next one, and brought back to how they began before that:
//! what one step has set in its session, another one must not find.

use std::future::Future;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durhai_world::WorldError;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{Client, NoTls};

use crate::failure::Failure;
use crate::server::Server;

/// Transactions at a time, each on a connection of its own.
const AT_ONCE: usize = 8;

/// How a session begins. A step whose host has died stands in no other's way for longer than this: the server finds out that its
/// connection is dead, or that nothing came on it for minutes although a transaction is open.
const BEGINS: &str = "set synchronous_commit = on; set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; \
                      set idle_in_transaction_session_timeout = '5min'";

/// What a session may have left behind, but for statements that are prepared: those belong to the client, which counts on them.
const AS_IT_WAS: &str = "close all; set session authorization default; reset all; unlisten *; \
                         select pg_advisory_unlock_all(); discard temp; discard sequences";

/// How long the end of a transaction is waited for that is given up. A server that is still sending rows is told to stop then.
const PATIENCE: Duration = Duration::from_secs(1);

/// A database, and the connections to it. Nothing is connected before there is something to do.
pub struct Database {
    pool: Arc<Pool>,
}

struct Pool {
    server: Arc<Server>,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Client>>,
}

/// The connection of a transaction that is open: everything a [`tokio_postgres::Client`] can do. It is committed when the work has
/// ended well; the work must not do that itself.
#[derive(Clone)]
pub struct Transaction(Arc<Client>);

impl Deref for Transaction {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

/// Whether a transaction may change anything. The server holds it to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Reads,
    Writes,
}

/// Why there is no result.
#[derive(Debug)]
pub enum TransactionError<E> {
    /// The work ended with this: nothing of it is in the database.
    Work(E),
    /// The database has refused the commit, for a constraint that is looked at then, say: nothing is in it.
    Commit(Box<tokio_postgres::Error>),
    /// The database cannot be reached, or two got into each other's way, and another attempt may come through. Nothing is in the database, unless
    /// the connection was lost in the moment of the commit: then only a database that keeps a record of it can tell.
    Lost(String),
    /// The database refuses: nothing is in it, and another attempt would be refused, too.
    Refused(String),
}

impl Database {
    /// The database at an address as [`PgWorld::open`](crate::PgWorld::open) takes it. Of the environment nothing is taken: it is about the world.
    pub fn at(url: &str, password: Option<&str>) -> Result<Self, WorldError> {
        Ok(Database::of(&Arc::new(Server::without_environment(url, password)?)))
    }

    pub(crate) fn of(server: &Arc<Server>) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Database { pool: Arc::new(Pool { server: server.clone(), places, idle: Mutex::default() }) }
    }

    /// The address without its password.
    pub fn shown(&self) -> &str {
        self.pool.server.shown()
    }

    /// Whether the address has a password in it, or was given one.
    pub fn has_password(&self) -> bool {
        self.pool.server.has_password()
    }

    /// The file with the authorities that it trusts, where it names one.
    pub fn trusted(&self) -> Option<&Path> {
        self.pool.server.trusted()
    }

    /// Does work within a transaction. Of an attempt that is dropped before its commit nothing stays, and what the server still does for it is
    /// cancelled.
    pub async fn transaction<F, Fut, T, E>(&self, access: Access, work: F) -> Result<T, TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let begun = self.begin(access).await?;
        let (output, begun) = begun.does(work).await?;
        match begun.commit().await {
            Ok(()) => Ok(output),
            Err(error) if error.as_db_error().is_some() => Err(TransactionError::Commit(Box::new(error))),
            Err(error) => Err(TransactionError::Lost(Failure::of(error).why().to_owned())),
        }
    }

    pub(crate) async fn begin<E>(&self, access: Access) -> Result<Begun, TransactionError<E>> {
        let closed = |_| TransactionError::Lost("the host stops".into());
        let place = self.pool.places.clone().acquire_owned().await.map_err(closed)?;
        let begin = match access {
            Access::Reads => "begin isolation level read committed read only",
            Access::Writes => "begin isolation level read committed read write",
        };
        let client = self.pool.client().await?;
        let begun = Begun { session: Some(Session { client, pool: self.pool.clone(), _place: place }) };
        begun.client()?.batch_execute(begin).await.map_err(Failure::of)?;
        Ok(begun)
    }

    /// A connection of its own for a question, outside of any transaction.
    pub(crate) async fn asks<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let client = self.pool.client().await?;
        let answer = ask(&client).await?;
        self.pool.idle.lock().push(client);
        Ok(answer)
    }
}

impl Pool {
    async fn client(&self) -> Result<Client, Failure> {
        loop {
            // Not in the condition of the loop: its lock would be held while the server is asked.
            let Some(client) = self.idle.lock().pop() else { break };
            // The server may have ended it meanwhile without this host having heard of it.
            if !client.is_closed() && client.batch_execute("").await.is_ok() {
                return Ok(client);
            }
        }
        // What is refused to a login may be mended while a step waits for its next attempt: a password, a right, a database that is missing.
        let (client, driver) = self.server.connect(None).await.map_err(Failure::for_now)?;
        tokio::spawn(driver);
        client.batch_execute(BEGINS).await.map_err(Failure::of)?;
        Ok(client)
    }
}

/// A connection that a transaction has.
struct Session {
    client: Client,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

/// A transaction that is open. Dropped, it is rolled back.
pub(crate) struct Begun {
    /// None only while the work has it, and when it is over.
    session: Option<Session>,
}

impl Begun {
    /// The work, which has the connection meanwhile. Where it fails everything is rolled back.
    pub async fn does<F, Fut, T, E>(mut self, work: F) -> Result<(T, Self), TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let over = || TransactionError::Lost("the transaction is over".into());
        let Session { client, pool, _place } = self.session.take().ok_or_else(over)?;
        let dropped = Cancels { server: pool.server.clone(), token: Some(client.cancel_token()) };
        let transaction = Transaction(Arc::new(client));
        let worked = work(transaction.clone()).await;
        // A copy that the work has left somewhere would go on within a transaction that is over.
        let Some(client) = Arc::into_inner(transaction.0) else {
            return Err(TransactionError::Refused("the work has ended and still holds its transaction".into()));
        };
        dropped.not_needed();
        self.session = Some(Session { client, pool, _place });
        match worked {
            Ok(output) => Ok((output, self)),
            Err(error) => Err(TransactionError::Work(error)),
        }
    }

    /// What is asked within it; a failure says nothing about how it ends.
    pub async fn asks<T>(
        &self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Asked> {
        match self.client() {
            Ok(client) => ask(client).await.map_err(Asked::Failed),
            Err(_) => Err(Asked::Over),
        }
    }

    /// An error of the database: it was refused. Any other: it is not known whether it was committed.
    pub async fn commit(mut self) -> Result<(), tokio_postgres::Error> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // The commit of a transaction in which a statement has failed is a rollback, and no error: the query in front of it is one.
        session.client.batch_execute("select; commit").await?;
        session.back(None);
        Ok(())
    }

    fn client(&self) -> Result<&Client, Failure> {
        let over = || Failure::Lost("the transaction is over".into());
        self.session.as_ref().map(|session| &session.client).ok_or_else(over)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.back(Some("rollback"));
        }
    }
}

impl Session {
    /// Brings the session back to how it began, beside the caller, who needs not wait for that. Until then its place is taken. A connection that
    /// does not even do that is dropped, and the server ends what is open on it.
    fn back(self, ends: Option<&'static str>) {
        let Ok(tokio) = tokio::runtime::Handle::try_current() else { return };
        let Session { client, pool, _place } = self;
        let cancels = Cancels { server: pool.server.clone(), token: Some(client.cancel_token()) };
        tokio.spawn(async move {
            let ended = async {
                if let Some(ends) = ends {
                    client.batch_execute(ends).await?;
                }
                client.batch_execute(AS_IT_WAS).await?;
                client.batch_execute(BEGINS).await
            };
            if matches!(tokio::time::timeout(PATIENCE, ended).await, Ok(Ok(()))) {
                cancels.not_needed();
                pool.idle.lock().push(client);
            }
            drop(_place);
        });
    }
}

/// Why a question within a transaction has no answer.
pub(crate) enum Asked {
    Failed(tokio_postgres::Error),
    Over,
}

/// Tells the server that nobody waits any more for what it does, where this is dropped: it would find out when it is done.
struct Cancels {
    server: Arc<Server>,
    token: Option<tokio_postgres::CancelToken>,
}

impl Cancels {
    fn not_needed(mut self) {
        self.token = None;
    }
}

impl Drop for Cancels {
    fn drop(&mut self) {
        let (Some(token), Ok(tokio)) = (self.token.take(), tokio::runtime::Handle::try_current()) else { return };
        let tls = self.server.tls();
        tokio.spawn(async move {
            // A server that does not hear of it only works in vain.
            let _ = match tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            };
        });
    }
}

impl<E> From<Failure> for TransactionError<E> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(why) | Failure::Conflict(why) | Failure::Ended(why) => TransactionError::Lost(why),
            Failure::Data(why) | Failure::Wrong(why) => TransactionError::Refused(why),
        }
    }
}
