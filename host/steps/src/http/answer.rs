//! What came back, and what it means for the step.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durhai::json::{self, JsonError};
use durhai::{StepError, Value};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::{Map, json};
use url::Url;

use super::request::Request;
use super::{Form, Response, asked, failure};
use crate::step_env::StepEnv;

/// Of the answer that an error carries, in bytes.
const KEPT_OF_FAILURE: usize = 4 * 1024;
/// Of the answer that a message shows, in bytes.
const SHOWN: usize = 200;
/// A server that asks for more is asked again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// Reads an answer to its end and judges it.
pub async fn read(step_env: &StepEnv, request: &Request, mut answer: reqwest::Response) -> Result<Response, StepError> {
    let status = answer.status();
    let url = answer.url().clone();
    let asked = asked(&request.method, &url);
    let headers = answer.headers().clone();
    let done = status.is_success() || status.is_redirection() || request.expect.contains(&status.as_u16());
    // Of a failure only the beginning is of use, however long it is.
    let limit = if done { request.max_size } else { request.max_size.min(KEPT_OF_FAILURE) };
    let mut body = Vec::new();
    let mut whole = true;
    loop {
        match answer.chunk().await {
            Ok(None) => break,
            Ok(Some(chunk)) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
            Ok(Some(_)) if done => {
                return Err(StepError::fatal(format!(
                    "{asked} answered with more than {limit} bytes: `max_size` can be up to {}",
                    super::request::MAX_SIZE
                )));
            }
            Ok(Some(chunk)) => {
                body.extend_from_slice(&chunk[..limit - body.len()]);
                whole = false;
                break;
            }
            // A failure is a failure, also when its text breaks off.
            Err(_) if !done => {
                whole = false;
                break;
            }
            Err(error) => return Err(failure::explain(&asked, &error)),
        }
    }
    if !done {
        return Err(failed(step_env, &asked, status, &headers, &body, whole, &url));
    }
    let (body, encoding) = decode(request.form, &headers, &body).map_err(|error| {
        let text = step_env.known.excerpt(&String::from_utf8_lossy(&body), SHOWN, true);
        let message = match error {
            JsonError::Syntax(why) => format!("{asked} answered {status}, but not with JSON ({why}): {text}"),
            JsonError::TooLong(number) => {
                let message = format!("{asked} answered {status}, with a number that cannot be taken: {number}");
                step_env.known.excerpt(&message, usize::MAX, true)
            }
        };
        StepError::fatal(message)
            .data(json!({ "status": status.as_u16(), "headers": plain(&headers), "body": text, "url": url.as_str() }))
    })?;
    Ok(Response { status: status.as_u16(), headers: plain(&headers), body, encoding, url })
}

fn failed(
    step_env: &StepEnv,
    asked: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    whole: bool,
    url: &Url,
) -> StepError {
    let text = step_env.known.excerpt(&String::from_utf8_lossy(body), KEPT_OF_FAILURE, whole);
    let body = match decode(Form::Auto, headers, body) {
        Ok((value, "json" | "empty")) if whole => value,
        _ => text.as_str().into(),
    };
    let message = match step_env.known.excerpt(&text, SHOWN, true).trim() {
        "" => format!("{asked} answered {status}"),
        first => format!("{asked} answered {status}: {first}"),
    };
    let data = json!({ "status": status.as_u16(), "headers": plain(headers), "body": body, "url": url.as_str() });
    let again = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let error = if again { StepError::retry(message) } else { StepError::fatal(message) };
    match headers.get(RETRY_AFTER).and_then(|value| wait(value, SystemTime::now())) {
        Some(wait) if again => error.retry_after(wait).data(data),
        _ => error.data(data),
    }
}

/// `Retry-After`: seconds, or a date.
fn wait(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More digits than fit is longer than any wait.
        true => Duration::from_secs(text.parse().unwrap_or(u64::MAX)),
        false => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// A body as a value, and how it was understood.
fn decode(form: Form, headers: &HeaderMap, body: &[u8]) -> Result<(Value, &'static str), JsonError> {
    if body.is_empty() {
        return Ok((Value::Null, "empty"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let (essence, parameters) = kind.split_once(';').unwrap_or((&kind, ""));
    let essence = essence.trim();
    let is_json = essence == "application/json" || essence == "text/json" || essence.ends_with("+json");
    let parse = || json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body), "body");
    let latin = ["iso-8859-1", "latin1", "windows-1252", "us-ascii"].iter().any(|charset| parameters.contains(charset));
    let text = match std::str::from_utf8(body) {
        Ok(text) => Some(text.to_owned()),
        Err(_) if latin => Some(body.iter().map(|byte| char::from(*byte)).collect()),
        Err(_) => None,
    };
    match (form, text) {
        (Form::Json, _) => parse().map(|value| (value, "json")),
        (Form::Auto, text) if is_json => match (parse(), text) {
            (Ok(value), _) => Ok((value, "json")),
            // Its script would take it for a map.
            (Err(JsonError::TooLong(number)), _) => Err(number.into()),
            (Err(_), Some(text)) => Ok((text.into(), "text")),
            (Err(_), None) => Ok((STANDARD.encode(body).into(), "base64")),
        },
        (Form::Auto | Form::Text, Some(text)) => Ok((text.into(), "text")),
        (Form::Text, None) => Ok((String::from_utf8_lossy(body).into(), "text")),
        (Form::Auto, None) | (Form::Base64, _) => Ok((STANDARD.encode(body).into(), "base64")),
    }
}

/// Names in small letters; repeated ones joined, but cookies, which hold commas, are a list.
fn plain(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let texts = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let texts: Vec<String> = texts.collect();
        let value = if name.as_str() == "set-cookie" { texts.into() } else { texts.join(", ").into() };
        map.insert(name.as_str().into(), value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_server_asks_to_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, wanted) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3)),
            ("Sunday, 06-Nov-94 08:49:40 GMT", Some(3)),
            ("Sun Nov  6 08:49:40 1994", Some(3)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 2044 08:00:00 GMT", Some(86_400)),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            let found = wait(&HeaderValue::from_str(text).unwrap(), now);
            assert_eq!(found, wanted.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn how_bodies_are_understood() {
        use Form::*;
        for (form, kind, body, wanted) in [
            (Auto, "application/json", &b"{\"a\":1}"[..], Ok((json!({ "a": 1 }), "json"))),
            (Auto, "application/problem+json; charset=utf-8", b"[1]", Ok((json!([1]), "json"))),
            (Auto, "application/json", b"\xef\xbb\xbf1", Ok((json!(1), "json"))),
            (Auto, "application/json", b"{oops", Ok((json!("{oops"), "text"))),
            (Auto, "application/json", b"\xff", Ok((json!("/w=="), "base64"))),
            (Auto, "text/plain", b"{\"a\":1}", Ok((json!("{\"a\":1}"), "text"))),
            (Auto, "", "ü".as_bytes(), Ok((json!("ü"), "text"))),
            (Auto, "text/plain; charset=ISO-8859-1", b"\xfc", Ok((json!("ü"), "text"))),
            (Auto, "text/plain", b"\xfc", Ok((json!("/A=="), "base64"))),
            (Auto, "application/json", b"", Ok((Value::Null, "empty"))),
            (Json, "text/plain", b" true ", Ok((json!(true), "json"))),
            (Json, "application/json", b"", Ok((Value::Null, "empty"))),
            (Json, "application/json", b"<html>", Err("expected value at line 1 column 1")),
            (
                Json,
                "text/plain",
                b"{\"id\":9223372036854775808}",
                Err("body.id: 9223372036854775808 does not fit into 64 bits: send it as text"),
            ),
            (Auto, "application/json", b"[1e400]", Ok((json!("[1e400]"), "text"))),
            (
                Auto,
                "application/json",
                b"[12345678901234567890]",
                Err("body[0]: 12345678901234567890 does not fit into 64 bits: send it as text"),
            ),
            (Text, "application/json", b"[12345678901234567890]", Ok((json!("[12345678901234567890]"), "text"))),
            (Text, "application/json", b"1", Ok((json!("1"), "text"))),
            (Text, "", b"a\xff", Ok((json!("a\u{fffd}"), "text"))),
            (Base64, "application/json", b"1", Ok((json!("MQ=="), "base64"))),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            let found = decode(form, &headers, body).map_err(|error| error.to_string());
            assert_eq!(found, wanted.map_err(str::to_owned), "{form:?} {kind} {body:?}");
        }
    }
}
