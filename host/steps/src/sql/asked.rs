//! What a call asks for: a database and statements with their parameters.

use durhai::{StepError, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The database that a call means without naming one.
const USUAL: &str = "main";

/// Statements for one transaction.
#[derive(Debug, PartialEq)]
pub struct Asked {
    pub database: String,
    pub statements: Vec<Statement>,
    /// They came as a list, and so do their results.
    pub list: bool,
}

/// One statement. `$1` in its text is the first parameter.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub sql: String,
    #[serde(default)]
    pub params: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    database: Option<String>,
    sql: String,
    #[serde(default)]
    params: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    database: Option<String>,
    statements: Vec<Value>,
}

impl Asked {
    /// The input of `sql.query`: a text, or `#{ database, sql, params }`.
    pub fn to_read(input: Value) -> Result<Asked, StepError> {
        let one: One = match input {
            Value::String(sql) => One { database: None, sql, params: Vec::new() },
            input => read("sql.query", input, "#{ database: \"main\", sql: \"select …\", params: [] }")?,
        };
        Asked::of(one)
    }

    /// The input of `sql.execute`: the same, or `#{ database, statements: [#{ sql, params }, …] }`.
    pub fn to_write(input: Value) -> Result<Asked, StepError> {
        let form = "#{ database: \"main\", sql: \"insert …\", params: [] } or #{ database: \"main\", statements: [#{ sql, params }] }";
        if input.get("statements").is_none() {
            return match input {
                Value::String(sql) => Asked::of(One { database: None, sql, params: Vec::new() }),
                input => Asked::of(read("sql.execute", input, form)?),
            };
        }
        let Several { database, statements } = read("sql.execute", input, form)?;
        let statements = statements.into_iter().map(|one| match one {
            Value::String(sql) => Ok(Statement { sql, params: Vec::new() }),
            one => read("sql.execute", one, "statements like #{ sql: \"insert …\", params: [] }"),
        });
        let statements = statements.collect::<Result<Vec<Statement>, _>>()?;
        if statements.is_empty() {
            return Err(StepError::fatal("sql.execute: the list of statements is empty"));
        }
        Asked::checked(database, statements, true)
    }

    fn of(one: One) -> Result<Asked, StepError> {
        let One { database, sql, params } = one;
        Asked::checked(database, vec![Statement { sql, params }], false)
    }

    fn checked(database: Option<String>, statements: Vec<Statement>, list: bool) -> Result<Asked, StepError> {
        statements.iter().try_for_each(Statement::check)?;
        Ok(Asked { database: database.unwrap_or_else(|| USUAL.into()), statements, list })
    }
}

impl Statement {
    /// Whether it may stand in a transaction that the step begins and ends.
    fn check(&self) -> Result<(), StepError> {
        if self.sql.contains('\0') {
            return Err(StepError::fatal("the SQL has a zero byte in it, which PostgreSQL does not take"));
        }
        let word = first_word(&self.sql).to_ascii_lowercase();
        match &*word {
            "" => Err(StepError::fatal("there is no statement in the SQL")),
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
                Err(StepError::fatal(format!(
                    "`{word}` is not for a step, whose statements are one transaction: give several as `statements` of one sql.execute"
                )))
            }
            "prepare" | "deallocate" | "listen" | "unlisten" | "declare" | "fetch" | "close" | "copy" => {
                Err(StepError::fatal(format!(
                    "`{word}` makes no sense in a step: its session is over when it has ended, and rows come as its output"
                )))
            }
            _ => Ok(()),
        }
    }
}

fn read<T: DeserializeOwned>(step: &str, input: Value, form: &str) -> Result<T, StepError> {
    serde_json::from_value(input)
        .map_err(|error| StepError::fatal(format!("the input of {step} does not fit ({error}): expected {form}")))
}

/// The word that a statement begins with, behind comments and empty statements.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        rest = match (rest.strip_prefix("--"), rest.strip_prefix("/*")) {
            // Either ends a line for PostgreSQL.
            (Some(line), _) => line.split_once(['\n', '\r']).map_or("", |(_, below)| below),
            (_, Some(comment)) => behind_comment(comment),
            _ => break,
        };
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    // What begins with a parenthesis is a query.
    if end == 0 { rest.get(..rest.chars().next().map_or(0, char::len_utf8)).unwrap_or_default() } else { &rest[..end] }
}

/// Comments can stand in comments.
fn behind_comment(text: &str) -> &str {
    let (mut rest, mut depth) = (text, 1);
    while depth > 0 {
        let Some(at) = rest.find("*/").into_iter().chain(rest.find("/*")).min() else { return "" };
        depth = if rest[at..].starts_with("*/") { depth - 1 } else { depth + 1 };
        rest = &rest[at + 2..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inputs() {
        let one = |sql: &str, params: Vec<Value>| Statement { sql: sql.into(), params };
        let read = Asked::to_read(json!("select 1")).unwrap();
        assert_eq!(read, Asked { database: "main".into(), statements: vec![one("select 1", vec![])], list: false });
        let read = Asked::to_read(json!({ "database": "shop", "sql": "select $1", "params": [1] })).unwrap();
        assert_eq!(read.database, "shop");
        assert_eq!(read.statements, [one("select $1", vec![json!(1)])]);
        let written =
            Asked::to_write(json!({ "statements": ["select 1", { "sql": "select $1", "params": [null] }] })).unwrap();
        assert_eq!(written.statements, [one("select 1", vec![]), one("select $1", vec![Value::Null])]);
        assert!(written.list);
        for (wrong, why) in [
            (json!({ "sql": "select 1", "parameters": [] }), "unknown field `parameters`"),
            (json!({ "sql": "select 1", "params": 1 }), "expected a sequence"),
            (json!({ "statements": [] }), "empty"),
            (json!({ "statements": ["select 1"], "sql": "select 1" }), "unknown field `sql`"),
            (json!({ "statements": [7] }), "expected statements like"),
            (json!([]), "expected #{ database"),
            (json!(""), "no statement"),
            (json!(" ; -- nothing\n /* at all */"), "no statement"),
            (json!("select '\0'"), "zero byte"),
        ] {
            let error = Asked::to_write(wrong.clone()).unwrap_err();
            assert!(error.is_fatal() && error.message().contains(why), "{wrong}: {}", error.message());
        }
    }

    #[test]
    fn the_transaction_is_the_steps() {
        for sql in [
            "commit",
            "COMMIT;",
            " ; ; rollback",
            "-- a\n-- b\ncommit",
            "/* a /* b */ c */ end",
            "/**/begin",
            "start transaction",
            "abort",
            "savepoint x",
            "copy t to stdout",
            "--a\rcommit /*\nselect 1 */",
        ] {
            assert!(Asked::to_write(json!(sql)).is_err(), "{sql}");
        }
        for sql in [
            "select 'commit'",
            "(select 1)",
            "with x as (select 1) table x",
            "ending()",
            "commit_all()",
            "/*commit*/ select 1",
        ] {
            assert!(Asked::to_write(json!(sql)).is_ok(), "{sql}");
        }
    }
}
