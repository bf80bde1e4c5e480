//! One connection to the server, driven by the thread that asks.
//!
//! Nothing goes on between two questions, and no thread has to be woken for an answer: on a machine where the server is near, that is a
//! good part of a round trip.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

use crate::failure::Failure;
use crate::param::Param;
use crate::server::{Driver, Server};

pub type Params<'a> = &'a [&'a dyn Param];

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
        let began = Instant::now();
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
        wire.set_up(began)?;
        Ok(wire)
    }

    /// What a session must be like, whatever the server's settings are. Isolation: the statements skip over rows that others
    /// have locked. Durability: an answer means that it is on the disk. No timeouts of the server: those who ask know how long they wait,
    /// and a batch that was ended by the server again and again would never be written.
    fn set_up(&mut self, began: Instant) -> Result<(), Failure> {
        let row = self.one(
            "select current_setting('synchronous_commit'), current_setting('default_transaction_isolation'), current_setting('transaction_read_only'), \
               (select (extract(epoch from clock_timestamp() - a.backend_start) * 1000000)::int8 from pg_stat_get_activity(pg_backend_pid()) a), \
               array(select name || ' = ' || found from unnest('{statement_timeout, lock_timeout, idle_in_transaction_session_timeout, \
                 idle_session_timeout, transaction_timeout}'::text[]) name, current_setting(name, true) found where found <> '0')",
            &[],
        )?;
        let [commit, isolation, read_only]: [String; 3] = [row.get(0), row.get(1), row.get(2)];
        let session = row.get::<_, Option<i64>>(3).map(|age| Duration::from_micros(age.try_into().unwrap_or(0)));
        let timeouts: Vec<String> = row.get(4);
        if read_only == "on" {
            return Err(Failure::Lost("the server is read-only: a standby, or a primary that is one no more".into()));
        }
        self.server.pooling.learn(began.elapsed(), session);
        let committed = isolation == "read committed";
        if self.server.pooling.is_pooled() {
            // What is set in a session here is set for others.
            if !committed {
                return Err(Failure::Wrong(format!(
                    "transactions are {isolation} by default, expected read committed, and behind a pooler no session can be set up: \
                     alter role … set default_transaction_isolation = 'read committed'"
                )));
            }
            self.server.tell_timeouts(&timeouts);
            return Ok(());
        }
        let mut set = Vec::new();
        if commit == "off" {
            set.push("set synchronous_commit = on".to_owned());
        }
        if !committed {
            set.push("set default_transaction_isolation = 'read committed'".to_owned());
        }
        set.extend(timeouts.iter().filter_map(|one| Some(format!("set {} = 0", one.split_once(' ')?.0))));
        if set.is_empty() { Ok(()) } else { self.batch(&set.join("; ")) }
    }

    pub fn rows(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        if !self.server.pooling.is_direct() {
            return self.rows_of(sql, params);
        }
        let statement = self.statement(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param.value()).collect();
        self.drive(async |client| client.query(&statement, &params).await)
    }

    /// The one row there always is.
    pub fn one(&mut self, sql: &'static str, params: Params<'_>) -> Result<Row, Failure> {
        self.rows(sql, params)?.pop().ok_or_else(|| Failure::Wrong(format!("no row came of {sql}")))
    }

    /// Rows of a statement that is not prepared.
    pub fn rows_of(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, Failure> {
        let sql = self.server.named(sql);
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            params.iter().map(|param| (param.value(), param.kind())).collect();
        self.drive(async |client| client.query_typed(&sql, &params).await)
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
