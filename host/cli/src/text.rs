//! Texts as a terminal, a shell and a reader may have them.

use std::borrow::Cow;

use durhai::Value;
pub use durhai_stdlib::words::one_line as cut;

/// Text as a terminal may have it: with colours, and with control characters shown instead of obeyed. What scripts print
/// and clients send must not move the cursor, rename the window or fill the clipboard.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find(obeyed) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let color = color_code(rest);
        if color > 0 {
            shown.push_str(&rest[..color]);
            rest = &rest[color..];
            continue;
        }
        let mut chars = rest.chars();
        if let Some(c) = chars.next() {
            shown.extend(c.escape_default());
        }
        rest = chars.as_str();
    }
    shown.push_str(rest);
    shown.into()
}

/// How long the colour is that the text begins with: `ESC [ 3 1 m`, as this program writes it.
fn color_code(text: &str) -> usize {
    let digits = |rest: &str| rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    match text.strip_prefix("\x1b[").map(|rest| (digits(rest), rest)) {
        Some((count, rest)) if rest[count..].starts_with('m') => count + 3,
        _ => 0,
    }
}

/// A value on one line, exact as far as it goes: where it gets longer than `width` characters, how many follow is said.
pub fn short(value: &Value, width: usize) -> String {
    // JSON has no line ends of its own, and its blanks are those of texts.
    let text = value.to_string();
    match text.char_indices().nth(width) {
        None => text,
        Some((at, _)) => format!("{}… ({} more characters)", &text[..at], text[at..].chars().count()),
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_come_back_from_a_shell_as_they_were() {
        for (word, text) in [
            ("order-42", "order-42"),
            ("a b", "'a b'"),
            ("", "''"),
            (r#"{"a":1}"#, r#"'{"a":1}'"#),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn a_terminal_is_told_nothing_but_colours() {
        for (text, shown) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("\x1b[38;5;1mred\x1b[m", "\x1b[38;5;1mred\x1b[m"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\x1b[31", "\\u{1b}[31"),
            ("\x1b", "\\u{1b}"),
            ("over\rwritten\x08", "over\\rwritten\\u{8}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_value_is_exact_and_says_how_much_of_it_is_left_out() {
        for (value, width, shown) in [
            (json!({ "a": "two  blanks\tand\nlines" }), 80, r#"{"a":"two  blanks\tand\nlines"}"#),
            (json!("äöüß"), 6, r#""äöüß""#),
            (json!("äöüß"), 3, "\"äö… (3 more characters)"),
            (json!("  "), 80, "\"  \""),
            (json!("x".repeat(100)), 10, "\"xxxxxxxxx… (92 more characters)"),
            (Value::Null, 4, "null"),
        ] {
            assert_eq!(short(&value, width), shown);
        }
    }

    #[test]
    fn long_texts_are_cut_by_characters() {
        assert_eq!(cut("äöü äöü", 4), "äöü…");
        assert_eq!(cut("a\n  b", 10), "a b");
        assert_eq!(cut("1234", 4), "1234");
    }
}
