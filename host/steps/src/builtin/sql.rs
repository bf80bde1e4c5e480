//! `sql.query` and `sql.execute`.

use std::sync::Arc;

use durhai::{StepContext, Value};

use crate::Attempt;
use crate::sql::{self, Asked, Call};
use crate::step_env::StepEnv;

pub fn query(step_env: Arc<StepEnv>, _: StepContext, input: Value) -> Attempt {
    Box::pin(async move { sql::query(&step_env, Asked::to_read(input)?).await })
}

pub fn execute(step_env: Arc<StepEnv>, context: StepContext, input: Value) -> Attempt {
    Box::pin(async move {
        let asked = Asked::to_write(input)?;
        let warn = |message: String| context.log("warn", message);
        let key = context.idempotency_key();
        sql::execute(&step_env, asked, Some(Call { run: context.run_id(), key: &key, warn: &warn })).await
    })
}
