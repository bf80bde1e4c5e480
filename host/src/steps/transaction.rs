//! Steps whose effect is in the database of the world, and is made exactly once.

use std::future::Future;
use std::sync::Arc;

use durhai_world_postgres::{PgWorld, Transaction, TransactionError};
use serde::Serialize;

use crate::Value;
use crate::steps::step::{StepContext, StepError};

/// One attempt of such a step: what is recorded of it, or the work.
pub(crate) async fn attempt<F, Fut, I, O, E>(
    world: Arc<PgWorld>,
    function: Arc<F>,
    context: StepContext,
    input: I,
) -> Result<Value, StepError>
where
    F: Fn(Transaction, I) -> Fut,
    Fut: Future<Output = Result<O, E>>,
    O: Serialize,
    E: Into<StepError>,
{
    let work = |transaction: Transaction| async move {
        let output = function(transaction, input).await.map_err(Into::into)?;
        serde_json::to_vec(&output).map_err(StepError::fatal)
    };
    match world.transaction(context.run_id(), &context.idempotency_key(), work).await {
        Ok(output) => serde_json::from_slice(&output).map_err(StepError::fatal),
        Err(TransactionError::Work(error)) => Err(error),
        Err(TransactionError::Commit(error)) => {
            Err(StepError::fatal(format!("PostgreSQL: the commit was refused: {error}")))
        }
        Err(TransactionError::Lost(why)) => Err(StepError::retry(format!("PostgreSQL: {why}"))),
        Err(TransactionError::Refused(why)) => Err(StepError::fatal(format!("PostgreSQL: {why}"))),
    }
}
