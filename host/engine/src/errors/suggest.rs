//! Messages that say what to do next: near names, signatures, common slips.

use durhai_stdlib::words;
use rhai::{EvalAltResult, ParseErrorType};

use crate::calls::CALLS;
use crate::program::modules::edition;
use crate::program::texts::Texts;
use crate::values::show::nice_type;

/// An error of the script itself, explained.
pub fn message(error: &EvalAltResult, texts: &Texts) -> String {
    // A script may have put the words of an error that it caught into what it asked for: runs of the first edition keep them.
    if edition() > 1
        && let Some(words) = words::of(error)
    {
        return words;
    }
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => function_not_found(signature, texts),
        EvalAltResult::ErrorVariableNotFound(name, _) if name == "input" => {
            "there is no variable `input` here: functions do not see it, pass it as an argument".into()
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            format!("there is no variable `{name}` here (functions see their arguments and constants only)")
        }
        EvalAltResult::ErrorDataRace(what, _) => {
            let what = if what.is_empty() { "a shared variable".into() } else { what.clone() };
            format!(
                "{what} is in use by a call that has not come back: a method of the variable (like `array.map(|x| \
                 use_step(…))` or `hook.wait()`, or a function called with it as `this`) waits for a durable call and \
                 holds it until then; call the method as a function (`wait(hook)`, `join(task)`, `step(saga, …)`), copy \
                 the variable first, or use foreach(array, |x| …)"
            )
        }
        EvalAltResult::ErrorStackOverflow(_) => {
            "the script calls itself too deeply (the limit `call_levels`): is there a recursion that does not end?"
                .into()
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            format!(
                "{} (limits `string`, `array`, `map`)",
                what.to_lowercase().replace("size of ", "too large: ") + " over the limit"
            )
        }
        EvalAltResult::ErrorTerminated(..) => {
            "it does not end: it makes more operations, or deeper calls, than are allowed".into()
        }
        EvalAltResult::ErrorMismatchDataType(wanted, found, _) => {
            format!("expected {}, found {}", nice_type(wanted), nice_type(found))
        }
        EvalAltResult::ErrorModuleNotFound(path, _) => format!("there is no module {path:?}"),
        // The place is told apart from the message. The value in an invalid index is not printed: it may be anything.
        EvalAltResult::ErrorIndexNotFound(..) => "there is no such index".into(),
        other => words::plain(other),
    }
}

/// `name (type, type)`, as Rhai writes it.
fn function_not_found(signature: &str, texts: &Texts) -> String {
    let (name, arguments) = signature.split_once(" (").unwrap_or((signature, ""));
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let arguments: Vec<_> = arguments.split(", ").filter(|a| !a.is_empty()).map(nice_type).collect();
    let called = format!("{name}({})", arguments.join(", "));
    if let Some(call) = CALLS.iter().find(|call| call.name == name) {
        return format!("{called} does not fit; there is {}", call.forms.join(", "));
    }
    let own = texts.functions_named(name);
    if !own.is_empty() {
        return format!("{called} does not fit; there is {}", own.join(", "));
    }
    if name.starts_with("anon$") {
        return format!("the closure cannot be called with {} arguments ({})", arguments.len(), arguments.join(", "));
    }
    if edition() > 1
        && let Some(words) = words::function(signature)
    {
        return words;
    }
    if COMMON.contains(&name) {
        let missing =
            if arguments.contains(&"unit") { "; () is what a map gives for a field that it does not have" } else { "" };
        return format!("{called} does not fit: {name} is for other values{missing}");
    }
    match near(name, CALLS.iter().map(|call| call.name).chain(texts.functions()).chain(COMMON.iter().copied())) {
        Some(close) => format!("there is no function {called}; did you mean `{close}`?"),
        None => format!("there is no function {called}"),
    }
}

/// Functions of the language that people misspell.
const COMMON: &[&str] = &[
    "len",
    "push",
    "pop",
    "shift",
    "insert",
    "remove",
    "contains",
    "keys",
    "values",
    "filter",
    "map",
    "reduce",
    "sort",
    "reverse",
    "to_string",
    "to_int",
    "to_float",
    "parse_int",
    "parse_float",
    "split",
    "trim",
    "replace",
    "to_upper",
    "to_lower",
    "sub_string",
    "index_of",
    "starts_with",
    "ends_with",
    "is_empty",
    "extract",
    "append",
    "to_json",
    "parse_json",
    "some",
    "all",
    "find",
    "dedup",
    "floor",
    "ceiling",
    "round",
    "abs",
    "max",
    "min",
];

/// Bytes of a name that may be a slip. A script can take a text of any length for a name, and the comparison takes time with
/// the product of both.
const LONGEST: usize = 200;

/// The name that is at most a third of its letters away.
pub fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    names
        .map(|other| (distance(name, other), other))
        .filter(|(distance, _)| *distance <= (name.chars().count() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What to do about an error of syntax.
pub fn parse_help(error: &ParseErrorType, source_line: &str) -> Option<String> {
    Some(match error {
        ParseErrorType::BadInput(error) if error.to_string().contains("'eval'") => {
            "text cannot become code in a workflow: write the code in the script, or in a module".into()
        }
        ParseErrorType::Reserved(word) => {
            format!("`{word}` has a meaning in Rhai: choose another name, or as the key of a map write \"{word}\"")
        }
        ParseErrorType::PropertyExpected => {
            "a key that is a word of the language is written in quotes, like \"const\": 5".into()
        }
        ParseErrorType::ExprTooDeep => "split the expression with variables, or use functions".into(),
        ParseErrorType::MissingToken(token, _) if token == "{" => {
            "a block is written `{ … }`, also around a single statement".into()
        }
        ParseErrorType::MissingToken(token, _) if token == ";" => "end the statement before it with `;`".into(),
        ParseErrorType::UnexpectedEOF => "is a bracket or a string not closed?".into(),
        ParseErrorType::WrongDocComment => "describe a workflow with `//!` at its top; `///` is for functions".into(),
        _ if source_line.trim_start().starts_with('{') => "a map is written #{ key: value }".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        for (name, close) in
            [("use_stpe", Some("use_step")), ("paralel", Some("parallel")), ("xyzzy", None), ("oops", None)]
        {
            assert_eq!(near(name, CALLS.iter().map(|call| call.name)), close, "{name}");
        }
    }
}
