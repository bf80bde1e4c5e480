//! JSON from the command line, a file or standard input.

use std::io::Read;
use std::path::Path;

use durhai::Value;
use durhai::json::{self, JsonError};

use crate::exit::Fail;

/// Reads `JSON`, `@FILE` or `-`; null if nothing was given. `what` names it in errors.
pub fn json(text: Option<&str>, what: &str) -> Result<Value, Fail> {
    match text {
        None => Ok(Value::Null),
        Some("-") => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            let text = read
                .and_then(|_| durhai::text::decode(bytes))
                .map_err(|error| Fail::usage(format!("{what}: standard input cannot be read: {error}")))?;
            parse(&text, &format!("{what} from standard input"))
        }
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                // Also what is no plain file: `@/dev/stdin`, or what a shell puts for `<(…)`.
                let text = std::fs::read(path)
                    .and_then(durhai::text::decode)
                    .map_err(|error| Fail::usage(format!("{what}: {path} cannot be read: {error}")))?;
                parse(&text, &format!("{what} from {path}"))
            }
            None => parse(text, what).map_err(|fail| match Path::new(text).is_file() {
                true => fail.hint(format!("There is a file of that name: @{text} reads it.")),
                false => fail,
            }),
        },
    }
}

fn parse(text: &str, what: &str) -> Result<Value, Fail> {
    json::from_str(text, "").map_err(|error| {
        let error = match error {
            JsonError::Syntax(error) => error,
            JsonError::TooLong(number) => return Fail::usage(format!("{what}: {number}")),
        };
        let mut message = format!("{what} is no JSON: {error}");
        if let Some(line) = text.lines().nth(error.line().saturating_sub(1)) {
            let before: String = line.chars().take(error.column().saturating_sub(1)).collect();
            // A long line is shown from shortly before the place.
            let skip = before.chars().count().saturating_sub(60);
            let shown: String = line.chars().skip(skip).take(100).collect();
            message.push_str(&format!("\n  {shown}\n  {}^", " ".repeat(before.chars().count() - skip)));
        }
        let bare = !text.trim_start().starts_with(['{', '[', '"']) && !text.is_empty() && error.line() == 1;
        if bare && !Path::new(text).is_file() {
            message.push_str("\nText needs quotes of its own: '\"like this\"'");
        }
        Fail::usage(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use serde_json::json;

    #[test]
    fn what_is_json_and_what_is_not() {
        assert_eq!(json(None, "--input"), Ok(Value::Null));
        assert_eq!(json(Some(r#"{"a":[1,2.0]}"#), "--input"), Ok(json!({ "a": [1, 2.0] })));
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            format!("@{}", path.display())
        };
        assert_eq!(json(Some(&file("marked", b"\xef\xbb\xbf[1]")), "--input"), Ok(json!([1])));
        let wide = json(Some(&file("wide", b"\xff\xfe[\0")), "--input").expect_err("no UTF-8");
        assert!(wide.message.contains("UTF-16"), "{}", wide.message);
        for (bad, part) in [
            ("{\"a\":}", "     ^"),
            ("hello", "'\"like this\"'"),
            ("", "is no JSON"),
            ("@/no/such/file", "/no/such/file cannot be read"),
        ] {
            let error = json(Some(bad), "--input").expect_err(bad);
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains(part), "{bad}: {}", error.message);
        }
    }
}
