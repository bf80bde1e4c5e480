//! Effects in the world's own database, each made exactly once.
//!
//! What is done within a transaction and the record that it was done commit together. An attempt that begins it again, after a crash or on
//! another host, finds the record and does nothing.

use std::future::Future;
use std::time::Duration;

use durhai_core::RunId;
use durhai_world::WorldError;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::PgWorld;
use crate::database::{Access, Asked, Begun, Database, Transaction, TransactionError};
use crate::failure::Failure;

/// How often it is asked what became of a commit whose answer was lost, and the wait between.
const ASKED: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);

/// Whether the world keeps records of what a login does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// What it does and the record of it commit together.
    Kept,
    /// It leads to another database, or to one that cannot be told from others: what it does may be done again.
    Elsewhere,
    /// It leads to the database of the world and may not write there; these statements would let it.
    NeedRights(String),
}

impl PgWorld {
    /// The database that the world is in, under the login of the world.
    pub fn own_login(&self) -> &Database {
        &self.work
    }

    /// Does work within a transaction, once for each key of a run: what it writes and its output commit together. If it was done before, its
    /// output is what was recorded then, and nothing is done. The record is kept as long as the run.
    pub async fn transaction<F, Fut, E>(&self, run: &RunId, key: &str, work: F) -> Result<Vec<u8>, TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        self.transaction_as(&self.work, run, key, work).await
    }

    /// The same under another login, which must [lead to the database of the world](PgWorld::keeps_records_of).
    pub async fn transaction_as<F, Fut, E>(
        &self,
        login: &Database,
        run: &RunId,
        key: &str,
        work: F,
    ) -> Result<Vec<u8>, TransactionError<E>>
    where
        F: FnOnce(Transaction) -> Fut,
        Fut: Future<Output = Result<Vec<u8>, E>>,
    {
        let begun = login.begin(Access::Writes).await?;
        match begun.asks(async |client| client.query_opt(&self.recorded_sql(), &[&key]).await).await {
            Ok(None) => {}
            Ok(Some(row)) => {
                begun.roll_back().await;
                return Ok(row.get(0));
            }
            Err(why) => return Err(given_up(begun, why).await),
        }
        let (output, begun) = begun.does(work).await?;
        let sql = self.server.named("insert into @.transaction_result select $1, key, $2 from @.run where id = $3");
        match begun.asks(async |client| client.execute(&sql, &[&key, &output, &run.as_str()]).await).await {
            Ok(1) => {}
            Ok(_) => {
                begun.roll_back().await;
                return Err(TransactionError::Refused(format!("there is no run {run}")));
            }
            // Another attempt was faster: what this one did is taken back.
            Err(Asked::Failed(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                begun.roll_back().await;
                return self.settled(login, key).await;
            }
            Err(why) => return Err(given_up(begun, why).await),
        }
        match begun.commit().await {
            Ok(()) => Ok(output),
            // Committed or not: the record says.
            Err(_) => self.settled(login, key).await,
        }
    }

    /// Whether what is done under a login is recorded with it, so that it happens exactly once.
    pub async fn keeps_records_of(&self, login: &Database) -> Result<Records, WorldError> {
        let asked = async {
            let (ours, its) = (self.work.asks(place).await?, login.asks(place).await?);
            if ours.is_none() || ours != its {
                return Ok(Records::Elsewhere);
            }
            let schema = self.server.schema();
            let (user, may) = login.asks(async |client| rights(client, schema).await.map_err(Failure::of)).await?;
            if may {
                return Ok(Records::Kept);
            }
            let (schema, user) = (quoted(schema), quoted(&user));
            Ok(Records::NeedRights(format!(
                "grant usage on schema {schema} to {user}; grant select, insert on {schema}.transaction_result to {user}; \
                 grant select (id, key) on {schema}.run to {user};"
            )))
        };
        asked.await.map_err(Failure::into_world)
    }

    fn recorded_sql(&self) -> String {
        self.server.named("select output from @.transaction_result where token = $1")
    }

    /// What became of a transaction whose end is not known here.
    async fn settled<E>(&self, login: &Database, key: &str) -> Result<Vec<u8>, TransactionError<E>> {
        let sql = self.recorded_sql();
        let mut why = String::from("the transaction was not committed");
        for _ in 0..ASKED {
            let asked = login.asks(async |client| client.query_opt(&sql, &[&key]).await.map_err(Failure::of)).await;
            match asked {
                Ok(Some(row)) => return Ok(row.get(0)),
                // A server that lost the connection ends its transaction with it; another attempt may be about to commit.
                Ok(None) => break,
                Err(failure) => why = failure.why().to_owned(),
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(TransactionError::Lost(why))
    }
}

async fn given_up<E>(begun: Begun<'_>, why: Asked) -> TransactionError<E> {
    begun.roll_back().await;
    match why {
        Asked::Failed(error) => Failure::of(error).into(),
        Asked::Over => TransactionError::Lost("the transaction is over".into()),
    }
}

/// The server and the database that a connection leads to. The number of a server is made with its files, and copies have it, too.
async fn place(client: &Client) -> Result<Option<(String, String, String)>, Failure> {
    let sql = "select (select system_identifier::text from pg_control_system()), pg_postmaster_start_time()::text, current_database()::text";
    match client.query_one(sql, &[]).await {
        Ok(row) => Ok(Some((row.get(0), row.get(1), row.get(2)))),
        // Some services do not let anybody ask.
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(Failure::of(error)),
    }
}

/// The user of a connection, and whether it may keep records in a schema.
async fn rights(client: &Client, schema: &str) -> Result<(String, bool), tokio_postgres::Error> {
    // Who may not look into a schema may not ask about its tables.
    let row = client.query_one("select current_user::text, has_schema_privilege($1, 'usage')", &[&schema]).await?;
    let (user, usage): (String, bool) = (row.get(0), row.get(1));
    if !usage {
        return Ok((user, false));
    }
    let sql = "select has_table_privilege(result, 'select') and has_table_privilege(result, 'insert')
                  and has_column_privilege(run, 'id', 'select') and has_column_privilege(run, 'key', 'select')
                 from (select format('%I.transaction_result', $1::text)::regclass::oid as result, format('%I.run', $1::text)::regclass::oid as run) x";
    Ok((user, client.query_one(sql, &[&schema]).await?.get(0)))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
