//! Effects in the database itself, each made exactly once.
//!
//! What is done within a transaction and the record that it was done commit together. Whoever begins it again, after a crash or on
//! another host, finds the record and does nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use durhai_core::RunId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::PgWorld;
use crate::failure::Failure;
use crate::server::Server;

/// Transactions at a time, each on a connection of its own.
const AT_ONCE: usize = 8;

/// How often it is asked what became of a commit whose answer was lost, and the wait between.
const ASKED: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);

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

/// Why there is no result.
#[derive(Debug)]
pub enum TransactionError<E> {
    /// The work ended with this: nothing of it is in the database.
    Work(E),
    /// The database cannot be reached, or two got into each other's way: nothing is in the database, and another attempt may come through.
    Lost(String),
    /// The database refuses: nothing is in it, and another attempt would be refused, too.
    Refused(String),
}

pub(crate) struct Transactions {
    server: Arc<Server>,
    places: Semaphore,
    idle: Mutex<Vec<Client>>,
}

impl Transactions {
    pub fn new(server: &Arc<Server>) -> Self {
        Transactions { server: server.clone(), places: Semaphore::new(AT_ONCE), idle: Mutex::default() }
    }

    async fn client(&self) -> Result<Client, Failure> {
        while let Some(client) = self.idle.lock().pop() {
            if !client.is_closed() {
                return Ok(client);
            }
        }
        let (client, driver) = self.server.connect(None).await?;
        tokio::spawn(driver);
        client.batch_execute("set synchronous_commit = on").await.map_err(Failure::of)?;
        Ok(client)
    }

    async fn recorded(&self, client: &Client, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let sql = self.server.named("select output from @.transaction_result where token = $1");
        let row = client.query_opt(&sql, &[&key]).await.map_err(Failure::of)?;
        Ok(row.map(|row| row.get(0)))
    }
}

impl PgWorld {
    /// Does work within a transaction, once for each key of a run: what it writes and its output commit together. If it was done before, its
    /// output is what was recorded then, and nothing is done. The record is kept as long as the run.
    pub async fn transaction<F, Fut, E>(&self, run: &RunId, key: &str, work: F) -> Result<Vec<u8>, TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        let all = &self.transactions;
        let _place = all.places.acquire().await.map_err(|_| TransactionError::Lost("the world is closed".into()))?;
        let client = all.client().await.map_err(told)?;
        client.batch_execute("begin isolation level read committed").await.map_err(|error| told(Failure::of(error)))?;
        if let Some(output) = all.recorded(&client, key).await.map_err(told)? {
            back(all, client).await;
            return Ok(output);
        }
        let transaction = Transaction(Arc::new(client));
        let worked = work(transaction.clone()).await;
        // A copy that the work has left somewhere would go on within a transaction that is over.
        let client = Arc::into_inner(transaction.0)
            .ok_or_else(|| TransactionError::Refused("the work has ended and still holds its transaction".into()))?;
        let output = match worked {
            Ok(output) => output,
            Err(error) => {
                back(all, client).await;
                return Err(TransactionError::Work(error));
            }
        };
        let sql = all.server.named("insert into @.transaction_result select $1, key, $2 from @.run where id = $3");
        match client.execute(&sql, &[&key, &output, &run.as_str()]).await {
            Ok(1) => {}
            Ok(_) => {
                back(all, client).await;
                return Err(TransactionError::Refused(format!("there is no run {run}")));
            }
            // Another attempt was faster: what this one did is taken back.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                back(all, client).await;
                return self.settled(key).await;
            }
            Err(error) => {
                let failure = Failure::of(error);
                back(all, client).await;
                return Err(told(failure));
            }
        }
        match client.batch_execute("commit").await {
            Ok(()) => {
                all.idle.lock().push(client);
                Ok(output)
            }
            // Committed or not: the record says.
            Err(_) => self.settled(key).await,
        }
    }

    /// What became of a transaction whose end is not known here.
    async fn settled<E>(&self, key: &str) -> Result<Vec<u8>, TransactionError<E>> {
        let all = &self.transactions;
        let mut why = String::from("the transaction was not committed");
        for _ in 0..ASKED {
            let asked = match all.client().await {
                Ok(client) => match all.recorded(&client, key).await {
                    Ok(found) => {
                        all.idle.lock().push(client);
                        Ok(found)
                    }
                    Err(failure) => Err(failure),
                },
                Err(failure) => Err(failure),
            };
            match asked {
                Ok(Some(output)) => return Ok(output),
                // A server that lost the connection ends its transaction with it; another attempt may be about to commit.
                Ok(None) => break,
                Err(failure) => why = failure.why().to_owned(),
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(TransactionError::Lost(why))
    }
}

/// Ends a transaction without a trace. A connection that does not even do that is dropped, and the server does it.
async fn back(all: &Transactions, client: Client) {
    if client.batch_execute("rollback").await.is_ok() {
        all.idle.lock().push(client);
    }
}

fn told<E>(failure: Failure) -> TransactionError<E> {
    match failure {
        Failure::Lost(why) | Failure::Conflict(why) => TransactionError::Lost(why),
        Failure::Wrong(why) => TransactionError::Refused(why),
    }
}
