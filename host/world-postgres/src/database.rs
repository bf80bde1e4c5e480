//! A PostgreSQL database in which steps do their work: the world's own, or any other.
//!
//! Each transaction has a connection for itself. Connections are kept for the next one, and brought back to how they began before that:
//! what one step has set in its session, another one must not find.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use durhai_world::WorldError;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, NoTls};

use crate::failure::Failure;
use crate::server::Server;

/// Transactions at a time, each on a connection of its own.
const AT_ONCE: usize = 8;

/// What a session may have left behind, but for statements that are prepared: those belong to the client, which counts on them.
const AS_IT_BEGAN: &str = "close all; set session authorization default; reset all; unlisten *; \
                           select pg_advisory_unlock_all(); discard temp; discard sequences; set synchronous_commit = on";

/// A database, and the connections to it. Nothing is connected before there is something to do.
pub struct Database {
    server: Arc<Server>,
    places: Semaphore,
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
        Database { server: server.clone(), places: Semaphore::new(AT_ONCE), idle: Mutex::default() }
    }

    /// The address without its password.
    pub fn shown(&self) -> &str {
        self.server.shown()
    }

    /// Does work within a transaction. Of an attempt that is dropped nothing is committed, and what the server still does for it is cancelled.
    pub async fn transaction<F, Fut, T, E>(&self, access: Access, work: F) -> Result<T, TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let begun = self.begin(access).await?;
        let (output, begun) = begun.does(work).await?;
        match begun.commit().await {
            Ok(()) => Ok(output),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(crate) async fn begin<E>(&self, access: Access) -> Result<Begun<'_>, TransactionError<E>> {
        let closed = |_| TransactionError::Lost("the host stops".into());
        let place = self.places.acquire().await.map_err(closed)?;
        let client = self.client().await?;
        let begin = match access {
            Access::Reads => "begin isolation level read committed read only",
            Access::Writes => "begin isolation level read committed read write",
        };
        let mut begun = Begun { database: self, client: Some(client), _place: place };
        begun.execute(begin).await?;
        Ok(begun)
    }

    /// A connection of its own for a question, outside of any transaction.
    pub(crate) async fn asks<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let client = self.client().await?;
        let answer = ask(&client).await?;
        self.idle.lock().push(client);
        Ok(answer)
    }

    async fn client(&self) -> Result<Client, Failure> {
        loop {
            // Not in the condition of the loop: its lock would be held while the server is asked.
            let Some(client) = self.idle.lock().pop() else { break };
            if !client.is_closed() && client.batch_execute(AS_IT_BEGAN).await.is_ok() {
                return Ok(client);
            }
        }
        let (client, driver) = self.server.connect(None).await?;
        tokio::spawn(driver);
        client.batch_execute("set synchronous_commit = on").await.map_err(Failure::of)?;
        Ok(client)
    }
}

/// A transaction that is open.
pub(crate) struct Begun<'a> {
    database: &'a Database,
    /// None only while it is being given back.
    client: Option<Client>,
    _place: tokio::sync::SemaphorePermit<'a>,
}

impl Begun<'_> {
    /// The work, which has the connection meanwhile. Where it fails everything is rolled back.
    pub async fn does<F, Fut, T, E>(mut self, work: F) -> Result<(T, Self), TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Some(client) = self.client.take() else {
            return Err(TransactionError::Lost("the transaction is over".into()));
        };
        let dropped = Cancels { database: self.database, token: Some(client.cancel_token()) };
        let transaction = Transaction(Arc::new(client));
        let worked = work(transaction.clone()).await;
        dropped.not_needed();
        // A copy that the work has left somewhere would go on within a transaction that is over.
        let Some(client) = Arc::into_inner(transaction.0) else {
            return Err(TransactionError::Refused("the work has ended and still holds its transaction".into()));
        };
        self.client = Some(client);
        match worked {
            Ok(output) => Ok((output, self)),
            Err(error) => {
                self.roll_back().await;
                Err(TransactionError::Work(error))
            }
        }
    }

    /// What is asked within it; a failure says nothing about how it ends.
    pub async fn asks<T>(
        &self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Asked> {
        match &self.client {
            Some(client) => ask(client).await.map_err(Asked::Failed),
            None => Err(Asked::Over),
        }
    }

    pub async fn commit(mut self) -> Result<(), Failure> {
        self.execute("commit").await?;
        self.gives_back();
        Ok(())
    }

    /// Ends it without a trace. A connection that does not even do that is dropped, and the server does it.
    pub async fn roll_back(mut self) {
        if self.execute("rollback").await.is_ok() {
            self.gives_back();
        }
    }

    async fn execute(&mut self, sql: &str) -> Result<(), Failure> {
        match &self.client {
            Some(client) => client.batch_execute(sql).await.map_err(Failure::of),
            None => Err(Failure::Lost("the transaction is over".into())),
        }
    }

    fn gives_back(&mut self) {
        self.database.idle.lock().extend(self.client.take());
    }
}

/// Why a question within a transaction has no answer.
pub(crate) enum Asked {
    Failed(tokio_postgres::Error),
    Over,
}

/// Tells the server that nobody waits any more for what it does, where the work is dropped: it would find out when it is done.
struct Cancels<'a> {
    database: &'a Database,
    token: Option<tokio_postgres::CancelToken>,
}

impl Cancels<'_> {
    fn not_needed(mut self) {
        self.token = None;
    }
}

impl Drop for Cancels<'_> {
    fn drop(&mut self) {
        let (Some(token), Ok(tokio)) = (self.token.take(), tokio::runtime::Handle::try_current()) else { return };
        let tls = self.database.server.tls();
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
