//! Hooks: requests from outside, for whichever run has the token open. The token is all it takes.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use durhai::json::{self, JsonError};
use durhai::view::HookRequest;
use durhai::{HostError, Value};
use serde_json::json;

use crate::app::Shared;
use crate::extract::{Params, Raw};
use crate::guard::bearer;
use crate::idempotency;
use crate::problem::{Problem, ProblemKind};

/// Delivers the request to the run that has this hook open.
///
/// It is durable when this answers. Who does not know an open token learns nothing: the answer is always the same 404.
///
/// The payload is `{ method, headers, query, body }`. Headers are as they came, by lower-case name, repeated ones joined by
/// `, `; only this server's own token is left out. A parameter of the query is a text, one that is repeated an array of
/// them (`?id=1&id=2`: `["1", "2"]`). The body is read as JSON if its Content-Type says so, else it is a text (a form too),
/// in Base64 where it is not UTF-8, and null when it is empty. Whole numbers in it must fit into 64 bits.
/// `Idempotency-Key`: what has the same key is delivered once.
#[utoipa::path(
    method(get, post, put, patch, delete),
    path = "/hooks/{token}",
    operation_id = "deliver",
    tag = "hooks",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "What has the same key is delivered once."),
    ),
    request_body(content = Value, content_type = "*/*", description = "Anything."),
    responses(
        (status = 202, description = "It will be delivered.", body = ref("#/components/schemas/Empty")),
        (status = 409, description = "The run has ended."),
    ),
)]
pub(super) async fn deliver(
    State(app): State<Shared>,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    // Before anything else is looked at: strangers must not make this server read what they send.
    let token = match token {
        Ok(Path(token)) if app.host.has_hook(&token).await? => token,
        _ => return Err(unknown()),
    };
    let (mut parts, body) = request.into_parts();
    let params = Params::from_request_parts(&mut parts, &app).await?;
    let (method, headers) = (parts.method.clone(), parts.headers.clone());
    let Raw(body) = Raw::from_request(Request::from_parts(parts, body), &app).await?;
    let id = idempotency::of_delivery(&headers)?;
    let ours = |headers: &HeaderMap| {
        app.config.token.as_ref().is_some_and(|token| bearer(headers).is_some_and(|offered| token.matches(offered)))
    };
    let mut kept = by_name(&headers);
    if ours(&headers) {
        kept.remove(header::AUTHORIZATION.as_str());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let body = read(&body, kind.is_some_and(is_json))?;
    let request = HookRequest { method: method.to_string(), headers: kept, query: params.by_name(), body };
    match app.host.deliver_hook(&token, request, id.as_deref()).await {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(json!({})))),
        Err(HostError::NotFound(_)) => Err(unknown()),
        Err(error) => Err(error.into()),
    }
}

fn unknown() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no open hook with this token")
}

fn by_name(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.as_str().to_owned())
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all
}

/// `application/json`, and formats that are written in it: `application/cloudevents+json`.
fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn read(body: &Bytes, json: bool) -> Result<Value, Problem> {
    match std::str::from_utf8(body) {
        _ if body.is_empty() => Ok(Value::Null),
        _ if json => json::from_slice(body, "body").map_err(|error| match error {
            JsonError::Syntax(error) => {
                Problem::invalid(format!("the Content-Type says JSON and the body is none: {error}"))
            }
            JsonError::TooLong(number) => Problem::invalid(number.to_string()),
        }),
        Ok(text) => Ok(Value::from(text)),
        Err(_) => Ok(Value::from(STANDARD.encode(body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_by_their_kind() {
        for (kind, body, value) in [
            ("application/json", &b"{\"a\":[1]}"[..], json!({ "a": [1] })),
            ("Application/JSON; charset=utf-8", b"7", json!(7)),
            ("application/cloudevents+json", b"null", json!(null)),
            ("text/plain", b"{\"a\":1}", json!("{\"a\":1}")),
            ("application/x-www-form-urlencoded", b"a=1&b=%20", json!("a=1&b=%20")),
            ("application/octet-stream", b"\xff\x00", json!("/wA=")),
            ("application/json", b"", json!(null)),
        ] {
            let found = read(&Bytes::from_static(body), is_json(kind)).expect(kind);
            assert_eq!(found, value, "{kind}");
        }
        for bad in [&b"{"[..], b"\xff", b"1 2"] {
            assert_eq!(read(&Bytes::from_static(bad), true).expect_err("no JSON").status, 400);
        }
    }

    #[test]
    fn repeated_headers_are_joined() {
        let mut headers = HeaderMap::new();
        headers.append("X-Tag", "a".parse().expect("a value"));
        headers.append("x-tag", "b".parse().expect("a value"));
        headers.append("odd", header::HeaderValue::from_bytes(b"\xe9").expect("a value"));
        let found = by_name(&headers);
        assert_eq!((found["x-tag"].as_str(), found["odd"].as_str()), ("a, b", "\u{fffd}"));
    }
}
