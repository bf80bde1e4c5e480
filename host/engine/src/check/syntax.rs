//! What does not parse, with the traps of the language explained.

use durhai_stdlib::foreign;
use rhai::{ParseError, ParseErrorType, Position};

use super::code::Code;
use super::project::File;
use super::report::Report;
use crate::errors::diagnostic::Diagnostic;

pub fn explain(file: &File<'_>, error: &ParseError, report: &mut Report<'_>) {
    let at = error.position();
    let plain = Diagnostic::from_parse(&file.path, file.text, error);
    let rest = rest(file.text, at);
    if let Some((at, message)) = foreign::explain(error.err_type(), at, file.text) {
        let reserved = matches!(error.err_type(), ParseErrorType::Reserved(_));
        return report.add(if reserved { Code::ReservedWord } else { Code::Syntax }, at, message);
    }
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    match error.err_type() {
        ParseErrorType::BadInput(what) if what.to_string().contains("'try'") => report.help(
            Code::TryAsValue,
            at,
            "`try` is a statement: it has no value",
            "put a block around it, which has the value of the `try` or of the `catch`: `let x = { try { … } catch { … } };`",
        ),
        ParseErrorType::MissingToken(token, _) if token == ";" && (word == "fn" || word == "private") => report.help(
            Code::FunctionAfterValue,
            at,
            "a function stands behind the expression that is the script's value",
            "move the functions to the top of the file, or end the expression before with `;`",
        ),
        ParseErrorType::Reserved(word) => {
            let help = format!("choose another name; as the key of a map write it in quotes: #{{ \"{word}\": … }}");
            report.help(Code::ReservedWord, at, format!("`{word}` has a meaning in Rhai"), help);
        }
        ParseErrorType::MissingToken(token, _) if token == "}" && KEYWORDS.contains(&word.as_str()) => {
            let help = format!("as the key of a map write it in quotes: #{{ \"{word}\": … }}");
            report.help(Code::ReservedWord, at, format!("`{word}` is a word of the language"), help);
        }
        ParseErrorType::PropertyExpected | ParseErrorType::VariableExpected if KEYWORDS.contains(&word.as_str()) => {
            let help = format!("choose another name; as the key of a map write it in quotes: #{{ \"{word}\": … }}");
            report.help(Code::ReservedWord, at, format!("`{word}` is a word of the language"), help);
        }
        ParseErrorType::VariableExpected if word == "_" => {
            report.help(Code::Syntax, at, "`_` is no name", "a variable that is ignored is called like `_item`");
        }
        ParseErrorType::UnknownOperator(_) => {
            let help = "operators are those of Rust, and `**`, `??`, `in`";
            report.help(Code::Syntax, at, plain.message, help);
        }
        ParseErrorType::WrongFnDefinition => report.help(
            Code::Syntax,
            at,
            "functions stand at the top level of a file",
            "inside of something else use a closure: `let f = |x| …;`, called with `f.call(x)`",
        ),
        _ => report.diagnostic(Code::Syntax, &plain),
    }
}

/// The text from a place on, to the end of its line.
fn rest(text: &str, at: Position) -> &str {
    let (Some(line), Some(column)) = (at.line(), at.position()) else { return "" };
    let line = text.lines().nth(line - 1).unwrap_or("");
    line.char_indices().nth(column - 1).map_or("", |(from, _)| &line[from..])
}

const KEYWORDS: &[&str] = &[
    "true", "false", "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in", "continue",
    "break", "return", "throw", "try", "catch", "import", "export", "as", "fn", "private", "global", "this",
];
