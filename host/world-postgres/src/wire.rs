//! One connection to the server, driven by the thread that asks.
//!
//! Nothing goes on between two questions, and no thread has to be woken for an answer: on a machine where the server is near, that is a
//! good part of a round trip.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use crate::failure::Failure;
use crate::server::{Driver, Server};

pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

pub struct Wire {
    server: Arc<Server>,
    /// Gone only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    driver: Driver,
    statements: HashMap<&'static str, Statement>,
    patience: Duration,
}

impl Wire {
    /// `patience`: how long a question may take.
    pub fn connect(server: &Arc<Server>, patience: Duration) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Lost(format!("cannot make a runtime for a connection: {error}")))?;
        let connected = runtime.block_on(async {
            match tokio::time::timeout(server.connect_timeout(), server.connect(None)).await {
                Ok(connected) => connected,
                Err(_) => Err(Failure::Lost(format!("no answer within {:?}", server.connect_timeout()))),
            }
        });
        let (client, driver) = match connected {
            Ok(connected) => connected,
            Err(failure) => {
                runtime.shutdown_background();
                return Err(failure);
            }
        };
        let statements = HashMap::new();
        let mut wire = Wire { server: server.clone(), runtime: Some(runtime), client, driver, statements, patience };
        wire.set_up()?;
        Ok(wire)
    }

    /// What a session must be like, whatever the server's settings are. Isolation: the statements skip over rows that others
    /// have locked. Durability: an answer means that it is on the disk.
    fn set_up(&mut self) -> Result<(), Failure> {
        let row = self.one("select current_setting('synchronous_commit'), current_setting('default_transaction_isolation'), current_setting('transaction_read_only')", &[])?;
        let [commit, isolation, read_only]: [String; 3] = [row.get(0), row.get(1), row.get(2)];
        if read_only == "on" {
            return Err(Failure::Lost("the server is read-only: a standby, or a primary that is one no more".into()));
        }
        if commit == "off" {
            self.batch("set synchronous_commit = on")?;
        }
        if isolation != "read committed" {
            self.batch("set default_transaction_isolation = 'read committed'")?;
        }
        Ok(())
    }

    pub fn rows(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let statement = self.statement(sql)?;
        self.drive(async |client| client.query(&statement, params).await)
    }

    /// The one row there always is.
    pub fn one(&mut self, sql: &'static str, params: Params<'_>) -> Result<Row, Failure> {
        self.rows(sql, params)?.pop().ok_or_else(|| Failure::Wrong(format!("no row came of {sql}")))
    }

    /// Rows of a statement that is made for one question.
    pub fn rows_of(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let sql = self.server.named(sql);
        self.drive(async |client| client.query(&sql, params).await)
    }

    /// Statements without parameters and answers.
    pub fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        let sql = self.server.named(sql);
        self.drive(async |client| client.batch_execute(&sql).await)
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let named = self.server.named(sql);
        let statement = self.drive(async |client| client.prepare(&named).await)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// Asks, and drives the connection until the answer is there.
    fn drive<T>(&mut self, ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Result<T, Failure> {
        let Wire { runtime, client, driver, patience, .. } = self;
        let runtime = runtime.as_ref().expect("it is there until the drop");
        let answer = runtime.block_on(async {
            let asked = async {
                let asked = ask(client);
                tokio::pin!(asked);
                tokio::select! {
                    biased;
                    answer = &mut asked => return answer,
                    () = driver => {}
                }
                // The connection is over: this is told at once.
                asked.await
            };
            match *patience {
                Duration::MAX => Ok(asked.await),
                patience => tokio::time::timeout(patience, asked).await,
            }
        });
        match answer {
            Ok(answer) => answer.map_err(Failure::of),
            Err(_) => Err(Failure::Lost(format!("no answer within {:?}", self.patience))),
        }
    }
}

impl Drop for Wire {
    /// Also where waiting is forbidden, as in async code.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
