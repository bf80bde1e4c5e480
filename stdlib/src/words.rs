//! The words of messages: errors of scripts where Rhai tells of its own inside, types, texts that are cut.

use rhai::EvalAltResult;

use crate::foreign;

/// What Rhai says about its own inside, said about the script.
pub fn of(error: &EvalAltResult) -> Option<String> {
    const UNIT: &str = "what stands before it is (), which is what a map gives for a field that it does not have";
    Some(match error {
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            format!("there is no `{name}` here: {}", foreign::variable(name)?)
        }
        EvalAltResult::ErrorDotExpr(text, _) => {
            // `Unknown property 'length' - a getter is not registered for type 'string'`
            let mut quoted = text.split('\'').skip(1).step_by(2);
            let (field, of) = (quoted.next()?, nice_type(quoted.next()?));
            match (text.starts_with("Unknown"), foreign::field(field)) {
                (_, _) if of == "()" || of == "unit" => format!("there is no field `{field}` here: {UNIT}"),
                (true, Some(sentence)) => format!("{} has no field `{field}`: {sentence}", article(of)),
                (true, None) => format!("{} has no field `{field}`", article(of)),
                (false, _) => format!("{} has no field `{field}` that could be set", article(of)),
            }
        }
        EvalAltResult::ErrorIndexingType(text, _) => {
            // `i64 [string]`, `i64 [string] = map`
            let (of, by) = text.split_once(" [")?;
            let by = article(nice_type(by.split(']').next()?));
            match nice_type(of) {
                "unit" => format!("there is nothing here to be indexed by {by}: {UNIT}"),
                of => format!("{} cannot be indexed by {by}", article(of)),
            }
        }
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let (name, arguments) = signature.split_once(" (")?;
            if rhai::is_valid_identifier(name) || name.contains('$') {
                return None;
            }
            let arguments = arguments.strip_suffix(')')?.split(", ");
            let arguments: Vec<_> = arguments.map(|name| article(nice_type(name))).collect();
            format!("`{name}` cannot be used with {}", arguments.join(" and "))
        }
        EvalAltResult::ErrorFor(_) => {
            "`for` goes through a list, a range like 0..3, the keys of a map (`map.keys()`) or the letters of a text \
             (`text.chars()`), and this is none of them"
                .into()
        }
        EvalAltResult::ErrorUnboundThis(_) => "there is no `this` here: the function was not called as a method".into(),
        EvalAltResult::ErrorMismatchOutputType(wanted, found, _) => {
            format!("expected {}, found {}", nice_type(wanted), nice_type(found))
        }
        EvalAltResult::ErrorAssignmentToConstant(name, _) if name.is_empty() => "this cannot be changed".into(),
        EvalAltResult::ErrorAssignmentToConstant(name, _) => format!("`{name}` is a constant, which cannot be changed"),
        EvalAltResult::ErrorNonPureMethodCallOnConstant(name, _) => match name.split_once('$') {
            None => format!("`{name}` would change a constant: copy it first, with `let copy = …;`"),
            Some(_) => "this would change a constant: copy it first, with `let copy = …;`".into(),
        },
        EvalAltResult::ErrorArrayBounds(0, index, _) => format!("there is no element {index}: the list is empty"),
        EvalAltResult::ErrorArrayBounds(count, index, _) => {
            format!("there is no element {index}: the list has {count}, numbered from 0")
        }
        EvalAltResult::ErrorStringBounds(0, index, _) => format!("there is no character {index}: the text is empty"),
        EvalAltResult::ErrorStringBounds(count, index, _) => {
            format!("there is no character {index}: the text has {count}, numbered from 0")
        }
        _ => return None,
    })
}

/// An error of a script that is no workflow: nothing that only workflows have is offered.
pub fn of_step(error: &EvalAltResult) -> String {
    let fits = |words: &String| !words.contains("use_step") && !words.contains("durabl") && !words.contains("the run");
    let told = match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            function(signature).filter(fits).or_else(|| of(error)).or_else(|| {
                let (name, arguments) = signature.split_once(" (")?;
                let arguments = arguments.strip_suffix(')')?.split(", ").map(nice_type).collect::<Vec<_>>();
                Some(format!("there is no function {name}({})", arguments.join(", ")))
            })
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            Some(of(error).filter(fits).unwrap_or_else(|| format!("there is no variable `{name}` here")))
        }
        EvalAltResult::ErrorMismatchDataType(wanted, found, _) => {
            Some(format!("expected {}, found {}", nice_type(wanted), nice_type(found)))
        }
        _ => of(error),
    };
    told.unwrap_or_else(|| plain(error))
}

/// What is said of a function that is not there, by its signature: `name (type, type)`, as Rhai writes it.
pub fn function(signature: &str) -> Option<String> {
    let (name, arguments) = signature.split_once(" (")?;
    let arguments =
        arguments.strip_suffix(')').unwrap_or(arguments).split(", ").filter(|argument| !argument.is_empty());
    let called = format!("{name}({})", arguments.map(nice_type).collect::<Vec<_>>().join(", "));
    match foreign::method(name).or_else(|| foreign::function(name)) {
        Some(sentence) => Some(format!("there is no function {called}: {sentence}")),
        None => foreign::arguments(name).map(|sentence| format!("{called} does not fit: {sentence}")),
    }
}

/// An error in the words of the language, without its place.
pub fn plain(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// A text on one line, cut where it gets longer than `width` characters.
pub fn one_line(text: &str, width: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(width) {
        None => line,
        Some(_) => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// What Rhai calls a type, in a word of the language.
pub fn nice_type(name: &str) -> &str {
    match name {
        "i64" => "integer",
        "f64" => "float",
        "bool" => "boolean",
        "char" => "character",
        "()" => "unit",
        "&str | ImmutableString | String" | "ImmutableString" | "&str" | "alloc::string::String" => "string",
        "Fn" | "FnPtr" => "function",
        _ if name.contains("Timestamp") || name.contains("Instant") => "timestamp",
        _ if name.contains("TaskHandle") => "task",
        _ if name.contains("HookHandle") => "hook",
        _ if name.contains("SagaHandle") => "saga",
        _ if name.contains("RangeInclusive") || name.contains("Range<") => "range",
        _ => name,
    }
}

/// `a string`, `an integer`.
pub fn article(noun: &str) -> String {
    let an = noun.starts_with(['a', 'e', 'i', 'o']);
    match noun {
        "unit" => "()".into(),
        _ => format!("{} {noun}", if an { "an" } else { "a" }),
    }
}
