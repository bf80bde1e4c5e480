//! What PostgreSQL refuses, in words, and whether another attempt makes sense.

use std::error::Error;

use durhai::StepError;
use durhai::postgres::client::error::{DbError, ErrorPosition, SqlState};
use serde_json::{Map, Value};

/// An error of a statement. Its data has the code and what it is about, for scripts that catch it: `#{ code, constraint, table, column, detail }`.
pub fn of(error: &durhai::postgres::client::Error, sql: &str, reads: bool) -> StepError {
    let Some(refusal) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let words = inner.to_string();
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            cause = inner.source();
        }
        return match error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>()) {
            true => StepError::retry(format!("PostgreSQL: {text}")),
            // A value that does not fit its column, in either direction.
            false => StepError::fatal(format!("SQL: {text}")),
        };
    };
    let mut message = format!("PostgreSQL: {} ({})", refusal.message(), refusal.code().code());
    for more in [refusal.detail(), refusal.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(more);
    }
    if reads && *refusal.code() == SqlState::READ_ONLY_SQL_TRANSACTION {
        message.push_str("; sql.query only reads: use sql.execute for what changes something");
        return StepError::fatal(message).data(data(refusal));
    }
    if let Some(ErrorPosition::Original(at)) = refusal.position() {
        message.push_str(&place(sql, *at));
    }
    let made = if passes(refusal.code()) { StepError::retry(message) } else { StepError::fatal(message) };
    made.data(data(refusal))
}

/// Whether the same statement may be taken at another time: a connection that broke, two in each other's way, a server without room or about to
/// go down, one that is no primary any more.
fn passes(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "08" | "40" | "53" | "57" | "58")
        || matches!(
            *code,
            SqlState::LOCK_NOT_AVAILABLE
                | SqlState::READ_ONLY_SQL_TRANSACTION
                | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        )
}

fn data(refusal: &DbError) -> Value {
    let mut data = Map::new();
    data.insert("code".into(), refusal.code().code().into());
    for (name, found) in [
        ("constraint", refusal.constraint()),
        ("table", refusal.table()),
        ("column", refusal.column()),
        ("detail", refusal.detail()),
    ] {
        data.extend(found.map(|found| (name.to_owned(), Value::from(found))));
    }
    Value::Object(data)
}

/// The line of the statement, and a caret under the character with this number, counted from 1.
fn place(sql: &str, at: u32) -> String {
    let before: String = sql.chars().take(at.saturating_sub(1) as usize).collect();
    let line = before.matches('\n').count();
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let text = sql.lines().nth(line).unwrap_or_default();
    format!(" at {}:{} of the SQL\n  {text}\n  {}^", line + 1, column + 1, " ".repeat(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_character() {
        assert_eq!(place("select * form t", 10), " at 1:10 of the SQL\n  select * form t\n           ^");
        assert_eq!(place("select ä,\n  x form t", 15), " at 2:5 of the SQL\n    x form t\n      ^");
        assert_eq!(place("", 1), " at 1:1 of the SQL\n  \n  ^");
        assert_eq!(place("select", 99), " at 1:7 of the SQL\n  select\n        ^");
    }
}
