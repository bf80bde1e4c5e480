//! Tokens of hooks that are replaced in a file, and given anew when it is imported.

use std::collections::HashMap;

use durhai_core::{Event, EventBody};

/// How many hexadecimal digits a token has that the host made up.
const DIGITS: usize = 32;

/// What stands for masked tokens begins like that. It looks like a token, so that what is found in a text is found by the
/// same means.
const MASKED: &str = "00000000000000000000";

/// Texts to be replaced by others, each of 32 hexadecimal digits with none beside it.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: HashMap<String, String>,
}

impl Tokens {
    /// Hides the token of a hook from here on.
    pub fn mask(&mut self, event: &Event) {
        if let EventBody::HookOpened { token, .. } = &event.body
            && is_made_up(token)
        {
            let number = self.known.len() + 1;
            self.known.entry(token.clone()).or_insert_with(|| format!("{MASKED}{number:012x}"));
        }
    }

    pub fn replace(&mut self, token: &str, by: impl FnOnce() -> String) {
        if !self.known.contains_key(token) {
            self.known.insert(token.to_owned(), by());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Replaces every token in a text, in one pass.
    pub fn apply(&self, text: &mut [u8]) {
        if self.known.is_empty() {
            return;
        }
        let mut at = 0;
        while at < text.len() {
            let digits = text[at..].iter().take_while(|byte| is_digit(**byte)).count();
            if digits == DIGITS
                && let Ok(token) = std::str::from_utf8(&text[at..at + DIGITS])
                && let Some(other) = self.known.get(token)
            {
                text[at..at + DIGITS].copy_from_slice(other.as_bytes());
            }
            at += digits.max(1);
        }
    }
}

/// A token that the host made: 128 bits.
pub(crate) fn is_made_up(token: &str) -> bool {
    token.len() == DIGITS && token.bytes().all(is_digit)
}

/// What stands in a file for one.
pub(crate) fn is_masked(token: &str) -> bool {
    is_made_up(token) && token.starts_with(MASKED)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_tokens_are_replaced_and_nothing_else() {
        let token = "0123456789abcdef0123456789abcdef";
        let other = format!("{MASKED}{:012x}", 1);
        let mut tokens = Tokens::default();
        tokens.replace(token, || other.clone());
        for (text, wanted) in [
            (format!("http://x/hooks/{token}"), format!("http://x/hooks/{other}")),
            (format!("{token} {token}"), format!("{other} {other}")),
            (format!("a{token}"), format!("a{token}")),
            (format!("{token}0"), format!("{token}0")),
            (token[..31].to_owned(), token[..31].to_owned()),
            (String::new(), String::new()),
        ] {
            let mut bytes = text.into_bytes();
            tokens.apply(&mut bytes);
            assert_eq!(String::from_utf8(bytes).expect("a text"), wanted);
        }
        assert!(is_masked(&other) && !is_masked(token));
    }
}
