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
use crate::database::{Access, Asked, Database, Transaction, TransactionError};
use crate::failure::Failure;

/// How often it is asked what became of a commit whose answer was lost, and the wait between.
const ASKED: u32 = 20;
const AGAIN: Duration = Duration::from_millis(250);

/// The first number of locks by which a database is known again.
const MARK: i32 = 0x6475_7268;

/// Whether the world keeps records of what a login does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// What it does and the record of it commit together.
    Kept,
    /// It leads to another database: what it does may be done again.
    Elsewhere,
    /// It leads to the database of the world and may not keep records there; this statement would let it.
    NeedRights(String),
}

/// Who keeps records, and by which statements.
struct Keeper {
    /// Parameter 1: the token.
    find: String,
    /// Parameters: the token, the output, the run. How many there are is 1 if there is such a run.
    keep: String,
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
        let keeper = self.keeper(login);
        let begun = login.begin(Access::Writes).await?;
        match begun.asks(async |client| client.query_one(&keeper.find, &[&key]).await).await {
            Ok(row) => {
                if let Some(output) = row.get(0) {
                    return Ok(output);
                }
            }
            Err(why) => return Err(given_up(why)),
        }
        let (output, begun) = begun.does(work).await?;
        match begun.asks(async |client| client.query_one(&keeper.keep, &[&key, &output, &run.as_str()]).await).await {
            Ok(row) if row.get::<_, i64>(0) == 1 => {}
            Ok(_) => return Err(TransactionError::Refused(format!("there is no run {run}"))),
            // Another attempt was faster: what this one did is taken back.
            Err(Asked::Failed(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                drop(begun);
                return self.settled(login, &keeper, key).await;
            }
            Err(why) => return Err(given_up(why)),
        }
        match begun.commit().await {
            Ok(()) => Ok(output),
            Err(error) if error.as_db_error().is_some_and(|refusal| !ends(refusal.code())) => {
                Err(TransactionError::Commit(Box::new(error)))
            }
            // Committed or not: the record says.
            Err(_) => self.settled(login, &keeper, key).await,
        }
    }

    /// The login of the world has the table; any other one only its own records, by functions.
    fn keeper(&self, login: &Database) -> Keeper {
        let (find, keep) = match std::ptr::eq(login, &self.work) {
            true => (
                "select (select output from @.transaction_result where login = '' and token = $1)",
                "with kept as (insert into @.transaction_result select '', $1::text, key, $2::bytea from @.run where id = $3 returning 1) \
                 select count(*) from kept",
            ),
            false => ("select @.result_1($1)", "select @.keep_1($1, $2, $3)"),
        };
        Keeper { find: self.server.named(find), keep: self.server.named(keep) }
    }

    /// Whether what is done under a login is recorded with it, so that it happens exactly once.
    pub async fn keeps_records_of(&self, login: &Database) -> Result<Records, WorldError> {
        let asked = async {
            if !self.is_same_database(login).await? {
                return Ok(Records::Elsewhere);
            }
            let schema = self.server.schema();
            let (user, may) = login.asks(async |client| rights(client, schema).await.map_err(Failure::of)).await?;
            Ok(match may {
                true => Records::Kept,
                false => Records::NeedRights(format!("grant usage on schema {} to {};", quoted(schema), quoted(&user))),
            })
        };
        asked.await.map_err(Failure::into_world)
    }

    /// Whether a lock that is taken here is seen there: no other server and no other database has it.
    async fn is_same_database(&self, login: &Database) -> Result<bool, Failure> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(|error| Failure::Lost(format!("no random numbers: {error}")))?;
        let number = i32::from_be_bytes(bytes);
        let begun = match self.work.begin::<()>(Access::Reads).await {
            Ok(begun) => begun,
            Err(TransactionError::Lost(why)) => return Err(Failure::Lost(why)),
            Err(other) => return Err(Failure::Wrong(format!("{other:?}"))),
        };
        let lock = "select pg_advisory_xact_lock($1, $2)";
        match begun.asks(async |client| client.execute(lock, &[&MARK, &number]).await).await {
            Ok(_) => {}
            Err(Asked::Failed(error)) => return Err(Failure::of(error)),
            Err(Asked::Over) => return Err(Failure::Lost("the transaction is over".into())),
        }
        let look = "select exists (select 1 from pg_locks where locktype = 'advisory' and classid::int8 = $1::int8 and objid::int8 = $2::int8
                     and database = (select oid from pg_database where datname = current_database()))";
        // As the server shows them.
        let shown = |number: i32| i64::from(u32::from_be_bytes(number.to_be_bytes()));
        let (mark, number) = (shown(MARK), shown(number));
        login
            .asks(async |client| Ok(client.query_one(look, &[&mark, &number]).await.map_err(Failure::of)?.get(0)))
            .await
    }

    /// What became of a transaction whose end is not known here.
    async fn settled<E>(&self, login: &Database, keeper: &Keeper, key: &str) -> Result<Vec<u8>, TransactionError<E>> {
        let mut why = String::from("the transaction was not committed");
        for _ in 0..ASKED {
            let asked =
                login.asks(async |client| client.query_one(&keeper.find, &[&key]).await.map_err(Failure::of)).await;
            match asked.map(|row| row.get::<_, Option<Vec<u8>>>(0)) {
                Ok(Some(output)) => return Ok(output),
                // The server may still be about to commit: it does so to the end once it has begun.
                Ok(None) => {}
                Err(failure) => why = failure.why().to_owned(),
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(TransactionError::Lost(why))
    }
}

fn given_up<E>(why: Asked) -> TransactionError<E> {
    match why {
        Asked::Failed(error) => Failure::of(error).into(),
        Asked::Over => TransactionError::Lost("the transaction is over".into()),
    }
}

/// Whether a server that says so was ended in the moment of the commit, so that it may have happened.
fn ends(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("08" | "57" | "58"))
}

/// The user of a connection, and whether it may keep records of its own in a schema.
async fn rights(client: &Client, schema: &str) -> Result<(String, bool), tokio_postgres::Error> {
    // Who may not look into a schema may not ask about its functions.
    let row = client.query_one("select session_user::text, has_schema_privilege($1, 'usage')", &[&schema]).await?;
    let (user, usage): (String, bool) = (row.get(0), row.get(1));
    if !usage {
        return Ok((user, false));
    }
    let sql = "select has_function_privilege(format('%I.keep_1(text,bytea,text)', $1::text)::regprocedure, 'execute')
                  and has_function_privilege(format('%I.result_1(text)', $1::text)::regprocedure, 'execute')";
    Ok((user, client.query_one(sql, &[&schema]).await?.get(0)))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
