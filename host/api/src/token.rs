//! The secret of a server.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// One secret or several, kept as digests: a client that has one of them is let in. Several are for a change without a gap: add
/// the new one, give it to the clients, take the old one away.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    digests: Vec<[u8; 32]>,
    shortest: usize,
}

impl Token {
    /// Takes one secret a line; space around them and empty lines do not count. None at all is refused, because it would
    /// let everybody in; so is one that no header can carry.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut token = Token { digests: Vec::new(), shortest: usize::MAX };
        for (number, line) in text.lines().enumerate() {
            let secret = line.trim();
            if secret.is_empty() {
                continue;
            }
            if let Some(odd) = secret.chars().find(|one| !one.is_ascii_graphic()) {
                return Err(format!(
                    "line {} of the token has the character {odd:?}; use letters, digits and signs of ASCII, without spaces",
                    number + 1
                ));
            }
            token.shortest = token.shortest.min(secret.len());
            token.digests.push(digest(secret));
        }
        match token.digests.is_empty() {
            true => Err("the token is empty: make one with `openssl rand -hex 16`".into()),
            false => Ok(token),
        }
    }

    /// Whether it is one of them. How long that takes depends neither on what is offered nor on which it is, for digests
    /// are compared, all of them to the end.
    pub fn matches(&self, offered: &str) -> bool {
        let offered = digest(offered);
        self.digests.iter().fold(Choice::from(0), |found, ours| found | ours.ct_eq(&offered)).into()
    }

    /// How many characters the shortest has.
    pub fn shortest(&self) -> usize {
        self.shortest
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_match_only_themselves() {
        let token = Token::new(" s3cret\r\n\nnew-one \n").expect("tokens");
        assert!(token.matches("s3cret") && token.matches("new-one"));
        assert_eq!(token.shortest(), 6);
        for other in ["", "s3cre", "s3crett", "S3cret", "s3cret\nnew-one", " s3cret"] {
            assert!(!token.matches(other), "{other:?}");
        }
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    #[test]
    fn texts_that_are_no_token() {
        for (bad, why) in [
            ("", "empty"),
            (" \n\t\n", "empty"),
            ("good\ntwo words", "line 2"),
            ("b\u{e4}d", "ASCII"),
            ("a\0", "line 1"),
        ] {
            let error = Token::new(bad).expect_err(bad);
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("words"), "a secret is not shown: {error}");
        }
    }
}
