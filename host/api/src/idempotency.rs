//! `Idempotency-Key`: what clients make up, so that what they send twice counts once.
//!
//! The draft of the header (draft-ietf-httpapi-idempotency-key-header) writes it as a string of RFC 8941, in quotes; most
//! clients send it bare. Both are the same key here.

use axum::http::HeaderMap;
use durhai::RunId;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// The longest key of a start, in bytes.
const MOST: usize = 255;

/// The tag of a run whose id had to be made from its key.
pub(crate) const TAG: &str = "idempotency_key";

/// The key of a start.
pub(crate) fn of_start(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(text) = only(headers)? else { return Ok(None) };
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(rest) => unquoted(rest).ok_or_else(|| {
            Problem::invalid(format!(
                "the header Idempotency-Key is {text:?}; a key in quotes ends with one, and has a backslash before each \
                 quote and backslash in it"
            ))
        })?,
    };
    match key.len() {
        1..=MOST => Ok(Some(key)),
        0 => Err(Problem::invalid("the header Idempotency-Key is empty")),
        length => {
            Err(Problem::invalid(format!("the header Idempotency-Key has {length} bytes; it can have {MOST} at most")))
        }
    }
}

/// The key of a delivery. Senders of webhooks do what they do: whatever they send is a key, an empty one is none.
pub(crate) fn of_delivery(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(text) = only(headers)? else { return Ok(None) };
    let key = text.strip_prefix('"').and_then(unquoted).unwrap_or_else(|| text.to_owned());
    Ok((!key.is_empty()).then_some(key))
}

/// The id of the run that a key stands for: the key itself where it can be one, else a digest of it, which always is the
/// same for the same key.
pub(crate) fn run_id(key: &str) -> String {
    match RunId::new(key) {
        Ok(_) => key.to_owned(),
        Err(_) => {
            let digits: String = Sha256::digest(key).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("key-{digits}")
        }
    }
}

fn only(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all("idempotency-key").iter();
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(Problem::invalid("the request has more than one Idempotency-Key header"));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(Problem::invalid("the header Idempotency-Key is no text in UTF-8")),
    }
}

/// What is between the quotes; `rest` begins behind the first. Parameters behind the last are passed over, as the draft
/// has none.
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::with_capacity(rest.len());
    let mut left = rest.chars();
    loop {
        match left.next()? {
            '"' => break,
            '\\' => match left.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            other => key.push(other),
        }
    }
    let behind = left.as_str().trim_start();
    (behind.is_empty() || behind.starts_with(';')).then_some(key)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(keys: &[&[u8]]) -> HeaderMap {
        let value = |key: &&[u8]| HeaderValue::from_bytes(key).expect("a value");
        keys.iter().map(|key| (axum::http::HeaderName::from_static("idempotency-key"), value(key))).collect()
    }

    #[test]
    fn keys_as_clients_write_them() {
        let long = "x".repeat(MOST);
        let quoted = format!("\"{}\"", "\\\"".repeat(MOST));
        for (text, key) in [
            ("order-42", "order-42"),
            ("  order-42 ", "order-42"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"a b\" ; v=1", "a b"),
            (r#""say \"hi\" \\ bye""#, r#"say "hi" \ bye"#),
            ("monthly report, March", "monthly report, March"),
            ("é", "é"),
            ("a\"b", "a\"b"),
            (&long, &long),
            (&quoted, &"\"".repeat(MOST)),
        ] {
            let headers = headers(&[text.as_bytes()]);
            assert_eq!(of_start(&headers).expect(text).as_deref(), Some(key), "{text}");
            assert_eq!(of_delivery(&headers).expect(text).as_deref(), Some(key), "{text}");
        }
        assert_eq!(of_start(&HeaderMap::new()).expect("none"), None);
    }

    #[test]
    fn what_is_no_key() {
        let long = "x".repeat(MOST + 1);
        for (text, part) in [
            ("", "is empty"),
            ("\"\"", "is empty"),
            ("\"open", "ends with one"),
            ("\"a\" b", "ends with one"),
            (r#""a\b""#, "backslash"),
            (&long, "has 256 bytes; it can have 255 at most"),
        ] {
            let problem = of_start(&headers(&[text.as_bytes()])).expect_err(text);
            assert!(problem.status == 400 && problem.detail.contains(part), "{text}: {problem:?}");
            // The sender is not refused for it.
            assert!(of_delivery(&headers(&[text.as_bytes()])).is_ok(), "{text}");
        }
        assert!(of_start(&headers(&[b"a", b"b"])).is_err());
        assert!(of_start(&headers(&[b"\xff"])).is_err());
    }

    #[test]
    fn every_key_is_the_id_of_a_run() {
        for key in ["order-42", "a b", "..", "é", "a\"b", &"x".repeat(129), &"x".repeat(MOST)] {
            let id = run_id(key);
            assert!(RunId::new(&id).is_ok(), "{key}: {id}");
            assert_eq!(id, run_id(key));
            assert_eq!(id == key, RunId::new(key).is_ok(), "{key}: {id}");
        }
        assert_ne!(run_id("a b"), run_id("a  b"));
    }
}
