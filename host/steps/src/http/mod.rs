//! HTTP, for scripts, built-in steps and declared services alike.
//!
//! A request is done, can be tried again or never will: see [`send`].

mod answer;
pub(crate) mod client;
mod failure;
pub(crate) mod options;
mod request;
mod resolver;

use durhai::{StepError, Value, duration};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde_json::Map;
use url::Url;

pub use options::{HttpOptions, Roots};
pub(crate) use request::{Key, MAX_SIZE, Request, method};
pub use resolver::Resolver;

use crate::step_env::StepEnv;

/// How the body of an answer is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON where the answer says so, else text where it is UTF-8, else base64.
    Auto,
    Json,
    Text,
    Base64,
}

/// An answer that counts as done.
#[derive(Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub headers: Map<String, Value>,
    pub body: Value,
    /// How the body was understood: `json`, `text`, `base64` or `empty`.
    pub encoding: &'static str,
    /// Where it came from, after redirects.
    pub url: Url,
}

impl Response {
    pub fn into_value(self) -> Value {
        let Response { status, headers, body, encoding, url } = self;
        serde_json::json!({
            "status": status, "headers": headers, "body": body, "encoding": encoding, "url": url.as_str(),
        })
    }
}

/// Sends a request and waits for the whole answer. `key` is the idempotency key of the step, for requests that carry it.
///
/// Done: 2xx, redirects that are not followed, statuses that were expected. Another attempt: no connection, no answer in
/// time or one that breaks off, 408, 425, 429 and 5xx, after `Retry-After` where the server names it (at most a day).
/// Anything else is fatal. Dropping the future closes the connection.
pub(crate) async fn send(step_env: &StepEnv, request: Request, key: &str) -> Result<Response, StepError> {
    let limit = request.timeout;
    let asked = asked(&request.method, &request.url);
    let late = || {
        let limit = duration::show(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        StepError::retry(format!("{asked} failed: it took longer than its timeout of {limit}"))
    };
    tokio::time::timeout(limit, exchange(step_env, request, key)).await.unwrap_or_else(|_| Err(late()))
}

/// A request in words, without what may be secret in its query.
pub(crate) fn asked(method: &Method, url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    format!("{method} {shown}")
}

async fn exchange(step_env: &StepEnv, mut request: Request, key: &str) -> Result<Response, StepError> {
    let key = match &request.key {
        Key::Own(key) => Some(key.clone()),
        Key::Step if request.wants_key() => Some(key.to_owned()),
        Key::Step | Key::None => None,
    };
    if let Some(key) = key {
        request.header("idempotency-key", &key, false)?;
    }
    let first = asked(&request.method, &request.url);
    let mut followed = 0;
    loop {
        if !request.trusted {
            step_env.permissions.net.allow(&request.url).map_err(StepError::fatal)?;
        }
        let answer = once(step_env, &request).await?;
        let Some(next) = target(&answer).filter(|_| request.redirects > 0) else {
            return answer::read(step_env, &request, answer).await;
        };
        if followed == request.redirects {
            return Err(StepError::fatal(format!(
                "{first} was redirected more than {followed} times, the last time to {}: raise `redirects`, or set it \
                 to 0 to see the redirect itself",
                asked(&request.method, &next)
            )));
        }
        follow(&mut request, answer.status().as_u16(), next)?;
        followed += 1;
    }
}

async fn once(step_env: &StepEnv, request: &Request) -> Result<reqwest::Response, StepError> {
    let port = request.url.port_or_known_default().unwrap_or_default();
    let grant = (!request.trusted).then_some(&step_env.permissions.net);
    let client = step_env.clients.get(port, grant, &step_env.http, &step_env.environment)?;
    let mut sending = client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
    if let Some(body) = &request.body {
        sending = sending.body(body.clone());
    }
    let answer = sending.send().await;
    answer.map_err(|error| failure::explain(&asked(&request.method, &request.url), &error))
}

/// Where an answer leads to, if it is a redirect.
fn target(answer: &reqwest::Response) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    answer.url().join(std::str::from_utf8(location.as_bytes()).ok()?).ok()
}

/// Makes the request the one that a redirect asks for. Nothing that may tell who asks goes to another origin.
fn follow(request: &mut Request, status: u16, mut next: Url) -> Result<(), StepError> {
    let from = asked(&request.method, &request.url);
    let refused = |why: &str| {
        let to = asked(&request.method, &next);
        let to = to.split_once(' ').map_or(&*to, |(_, url)| url);
        StepError::fatal(format!("{from} was redirected to {to}: {why}"))
    };
    if !matches!(next.scheme(), "http" | "https") {
        return Err(refused("only http and https can be spoken"));
    }
    let same_origin = next.origin() == request.url.origin();
    if !same_origin && request.trusted {
        return Err(refused(
            "a declared service is followed only within its own scheme, host and port; name the new URL in durhai.toml",
        ));
    }
    let becomes_get = match status {
        // As browsers do; but a service that was never given its input has not done its work.
        301 | 302 => request.method == Method::POST && !request.trusted,
        303 => ![Method::GET, Method::HEAD].contains(&request.method),
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = None;
        for header in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
            request.headers.remove(header);
        }
        request.headers.remove("idempotency-key");
    }
    if !same_origin {
        request.headers = harmless(&request.headers);
    }
    // Fails only for URLs without a host, and those of http have one.
    let _ = next.set_username("").and_then(|()| next.set_password(None));
    request.url = next;
    Ok(())
}

/// What may go to another origin. Everything else could be a key, whatever its name.
fn harmless(headers: &HeaderMap) -> HeaderMap {
    let kept = |(name, value): &(&HeaderName, &HeaderValue)| {
        let known = [header::ACCEPT, header::ACCEPT_LANGUAGE, header::CONTENT_TYPE, header::USER_AGENT];
        !value.is_sensitive() && (known.contains(name) || name.as_str() == "idempotency-key")
    };
    headers.iter().filter(kept).map(|(name, value)| (name.clone(), value.clone())).collect()
}
