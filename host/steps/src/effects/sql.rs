//! The module `sql`. A step in Rhai is made again as a whole, so what it changes is done at least once.

use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::json;

use super::current::{CurrentAttempt, RunningAttempt, running, wait_for};
use super::thrown::{Fallible, give};
use crate::convert::{to_dynamic, to_json};
use crate::sql::{self, Asked};

pub fn module(current: &CurrentAttempt) -> Module {
    let mut module = Module::new();
    let here = current.clone();
    module
        .set_native_fn("query", move |database: &str, sql: ImmutableString| query(&here, database, &sql, Array::new()));
    let here = current.clone();
    module.set_native_fn("query", move |database: &str, sql: ImmutableString, params: Array| {
        query(&here, database, &sql, params)
    });
    let here = current.clone();
    module.set_native_fn("execute", move |database: &str, sql: ImmutableString| {
        execute(&here, database, json!({ "sql": &*sql }))
    });
    let here = current.clone();
    module.set_native_fn("execute", move |database: &str, sql: ImmutableString, params: Array| {
        execute(&here, database, json!({ "sql": &*sql, "params": to_json(&params.into())? }))
    });
    let here = current.clone();
    module.set_native_fn("execute", move |database: &str, statements: Array| {
        execute(&here, database, json!({ "statements": to_json(&statements.into())? }))
    });
    module.build_index();
    module
}

fn query(current: &CurrentAttempt, database: &str, sql: &str, params: Array) -> Fallible<Dynamic> {
    let RunningAttempt { step_env, .. } = running(current);
    let input = json!({ "database": database, "sql": sql, "params": to_json(&params.into())? });
    let asked = give(Asked::to_read(input))?;
    Ok(to_dynamic(wait_for(current, sql::query(&step_env, asked))?)?)
}

fn execute(current: &CurrentAttempt, database: &str, mut input: serde_json::Value) -> Fallible<Dynamic> {
    let RunningAttempt { step_env, .. } = running(current);
    input["database"] = database.into();
    let asked = give(Asked::to_write(input))?;
    Ok(to_dynamic(wait_for(current, sql::execute(&step_env, asked, None))?)?)
}
