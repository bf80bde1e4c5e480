//! `sql.query` and `sql.execute`: statements in PostgreSQL databases that the settings name.

mod asked;
mod databases;
mod failure;
mod parameters;
mod times;
mod values;

use std::collections::HashSet;
use std::pin::pin;

use durhai::postgres::client::{Row, Statement as Prepared};
use durhai::postgres::{Access, Transaction, TransactionError};
use durhai::{RunId, StepError, Value};
use futures_util::TryStreamExt;
use serde_json::{Map, json};

pub use asked::Asked;
pub use databases::{Connections, DatabasePlace, StoreDatabase};

use asked::Statement;
use databases::Reached;
use parameters::Parameter;
use values::Cell;

use crate::step_env::StepEnv;

/// What the rows of a call may take altogether: as much as an HTTP answer.
const MOST: usize = crate::http::MAX_SIZE;

/// Levels of lists and maps in an output, as a host takes them unless it was told otherwise.
const DEPTH: usize = 64;

/// The call that an effect is recorded for.
pub struct Call<'a> {
    pub run: &'a RunId,
    pub key: &'a str,
    pub warn: &'a (dyn Fn(String) + Sync),
}

/// Rows as a list of maps. Changes nothing: the server holds it to that.
pub async fn query(step_env: &StepEnv, asked: Asked) -> Result<Value, StepError> {
    let work = async |transaction: Transaction| {
        let mut room = MOST;
        let mut rows = Vec::new();
        for statement in &asked.statements {
            rows = run(&transaction, statement, true, &mut room).await?.rows;
        }
        fits(Value::Array(rows))
    };
    let outcome = match step_env.database(&asked.database)? {
        Reached::Own(world) => world.own_login().transaction(Access::Reads, work).await,
        Reached::Login(login) => login.database.transaction(Access::Reads, work).await,
    };
    outcome.map_err(|error| told(&asked.database, error))
}

/// `#{ count, rows }`, or a list of them. All statements or none, and exactly once in the database that the host keeps its runs in; elsewhere
/// again if the host dies before it has recorded the result.
pub async fn execute(step_env: &StepEnv, asked: Asked, call: Option<Call<'_>>) -> Result<Value, StepError> {
    let work = async |transaction: Transaction| {
        let mut room = MOST;
        let mut results = Vec::new();
        for statement in &asked.statements {
            let Done { count, rows } = run(&transaction, statement, false, &mut room).await?;
            results.push(json!({ "count": count, "rows": rows }));
        }
        fits(if asked.list { Value::Array(results) } else { results.pop().unwrap_or_default() })
    };
    let recorded = async |transaction: Transaction| {
        let output = work(transaction).await?;
        serde_json::to_vec(&output).map_err(StepError::fatal)
    };
    let name = &*asked.database;
    let reached = step_env.database(name)?;
    let recorded = match (&reached, &call) {
        (Reached::Own(world), Some(call)) => Some(world.transaction(call.run, call.key, recorded).await),
        (Reached::Login(login), Some(call)) => match step_env.store.world() {
            Some(world) if login.is_recorded(world, |missing| (call.warn)(not_recorded(name, missing))).await? => {
                Some(world.transaction_as(&login.database, call.run, call.key, recorded).await)
            }
            _ => None,
        },
        (_, None) => None,
    };
    if let Some(outcome) = recorded {
        let bytes = outcome.map_err(|error| told(name, error))?;
        return serde_json::from_slice(&bytes).map_err(StepError::fatal);
    }
    let outcome = match &reached {
        Reached::Own(world) => world.own_login().transaction(Access::Writes, work).await,
        Reached::Login(login) => login.database.transaction(Access::Writes, work).await,
    };
    outcome.map_err(|error| told(name, error))
}

/// What a statement did.
struct Done {
    /// Rows that it changed or gave.
    count: u64,
    rows: Vec<Value>,
}

async fn run(
    transaction: &Transaction,
    statement: &Statement,
    reads: bool,
    room: &mut usize,
) -> Result<Done, StepError> {
    let wrong = |error| failure::of(&error, &statement.sql, reads);
    let prepared = transaction.prepare(&statement.sql).await.map_err(wrong)?;
    let (wanted, given) = (prepared.params().len(), statement.params.len());
    if wanted != given {
        let plural = if wanted == 1 { "" } else { "s" };
        return Err(StepError::fatal(format!(
            "the SQL has {wanted} parameter{plural} ($1, $2, …), `params` has {given}"
        )));
    }
    for (at, (value, ty)) in statement.params.iter().zip(prepared.params()).enumerate() {
        parameters::text(value, ty).map_err(|why| StepError::fatal(format!("${} of the SQL: {why}", at + 1)))?;
    }
    columns(&prepared)?;
    let stream = transaction.query_raw(&prepared, statement.params.iter().map(Parameter)).await.map_err(wrong)?;
    let mut stream = pin!(stream);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await.map_err(wrong)? {
        rows.push(map(&row, room)?);
    }
    Ok(Done { count: stream.rows_affected().unwrap_or(0), rows })
}

/// Whether each column can be given, under a name of its own.
fn columns(prepared: &Prepared) -> Result<(), StepError> {
    let mut names = HashSet::new();
    for column in prepared.columns() {
        let name = column.name();
        if !names.insert(name) {
            return Err(StepError::fatal(format!(
                "two columns of the SQL are called {name:?}: give one of them another name with AS"
            )));
        }
        if !values::known(column.type_()) {
            return Err(StepError::fatal(format!(
                "the column {name:?} has the type {}, which scripts have nothing for: cast it, as in {name}::text",
                column.type_()
            )));
        }
    }
    Ok(())
}

fn map(row: &Row, room: &mut usize) -> Result<Value, StepError> {
    let mut map = Map::new();
    for (at, column) in row.columns().iter().enumerate() {
        let Cell(value) = row.try_get(at).map_err(|error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            StepError::fatal(format!("the column {:?} of the SQL: {why}", column.name()))
        })?;
        map.insert(column.name().to_owned(), value);
    }
    let value = Value::Object(map);
    *room = room.checked_sub(size(&value)).ok_or_else(too_much)?;
    Ok(value)
}

/// Looked at before anything is committed: a host refuses an output that does not.
fn fits(output: Value) -> Result<Value, StepError> {
    let bytes = serde_json::to_vec(&output).map_err(StepError::fatal)?.len();
    if bytes > MOST {
        return Err(too_much());
    }
    if durhai::json::depth(&output, DEPTH + 1) > DEPTH {
        return Err(StepError::fatal(format!(
            "the rows nest more than {DEPTH} levels deep: take apart what is in them with SQL"
        )));
    }
    Ok(output)
}

fn too_much() -> StepError {
    StepError::fatal(format!(
        "the rows take more than {MOST} bytes as JSON: ask for less with LIMIT, or for fewer columns"
    ))
}

/// About as many bytes as it takes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value) + 4).sum::<usize>() + 2,
        _ => 8,
    }
}

fn told(name: &str, error: TransactionError<StepError>) -> StepError {
    match error {
        TransactionError::Work(error) => error,
        TransactionError::Commit(error) => failure::of(&error, "", false),
        TransactionError::Lost(why) => StepError::retry(format!("the database {name:?}: {why}")),
        TransactionError::Refused(why) => StepError::fatal(format!("the database {name:?}: {why}")),
    }
}

fn not_recorded(name: &str, missing: &str) -> String {
    format!(
        "the database {name:?} is the one that the host keeps its runs in, but its login may not write there, so that a step may be done again after \
         a crash; to make it exactly once: {missing}"
    )
}
