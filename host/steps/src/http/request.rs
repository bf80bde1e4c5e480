//! A request as scripts write it: `#{ url, method, headers, query, json, … }`.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use durhai::{StepError, Value, duration};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Map;
use url::Url;

use super::Form;
use crate::step_env::StepEnv;

/// What an answer may have at most, in bytes: no larger value can be kept.
pub const MAX_SIZE: usize = 2 * 1024 * 1024;
const USUAL_SIZE: usize = 1024 * 1024;
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);
const USUAL_REDIRECTS: usize = 10;

const OPTIONS: [&str; 17] = [
    "url",
    "method",
    "headers",
    "query",
    "json",
    "body",
    "form",
    "base64",
    "timeout",
    "redirects",
    "max_size",
    "expect",
    "response",
    "bearer",
    "basic",
    "secrets",
    "idempotency_key",
];

/// Headers that say how a request is carried, or to whom: a script that sets them speaks past the checks.
const CARRIED: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "accept-encoding",
];

/// One request, read and checked, with its secrets put in.
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
    /// For the whole request, redirects and the last byte of the answer included.
    pub timeout: Duration,
    /// How many are followed; with 0 a redirect is an answer like others.
    pub redirects: usize,
    pub max_size: usize,
    /// Statuses that count as done beside 2xx.
    pub expect: BTreeSet<u16>,
    pub form: Form,
    pub key: Key,
    /// Declared in settings: goes wherever they say, and follows redirects only there.
    pub trusted: bool,
}

/// What stands in `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The step's, for methods that change something.
    Step,
    Own(String),
    None,
}

impl Request {
    /// Nothing but a method and a place.
    pub fn to(method: Method, url: &str) -> Result<Self, StepError> {
        Ok(Request {
            method,
            url: address(url)?,
            headers: HeaderMap::new(),
            body: None,
            timeout: USUAL_TIMEOUT,
            redirects: USUAL_REDIRECTS,
            max_size: USUAL_SIZE,
            expect: BTreeSet::new(),
            form: Form::Auto,
            key: Key::Step,
            trusted: false,
        })
    }

    /// From what a script gave: a map, or the URL as text. A method that is fixed must not be in the map. Every
    /// mistake is fatal and names the option.
    pub fn read(step_env: &StepEnv, method: Option<Method>, input: Value) -> Result<Self, StepError> {
        let mut options = match input {
            Value::Object(options) => options,
            Value::String(url) => Map::from_iter([("url".to_owned(), url.into())]),
            other => return Err(wrong("its input", "a map with url, or a URL as text", &other)),
        };
        let known = |name: &&String| OPTIONS.contains(&name.as_str()) && (method.is_none() || *name != "method");
        if let Some(name) = options.keys().find(|name| !known(name)) {
            let known: Vec<_> = OPTIONS.into_iter().filter(|name| method.is_none() || *name != "method").collect();
            return Err(StepError::fatal(format!(
                "HTTP requests have no option {name:?}: there are {}",
                known.join(", ")
            )));
        }
        // An option that is () is one that was left out, but JSON may be null.
        options.retain(|name, value| name == "json" || !value.is_null());
        let method = match (method, options.remove("method")) {
            (Some(method), _) => method,
            (None, None) => return Err(StepError::fatal("an HTTP request needs `method`, like \"GET\"")),
            (None, Some(name)) => self::method(&text("method", name)?)?,
        };
        let url = options.remove("url").ok_or_else(|| StepError::fatal("an HTTP request needs `url`"))?;
        let mut request = Request::to(method, &text("url", url)?)?;
        for (name, value) in options {
            request.set(step_env, &name, value)?;
        }
        Ok(request)
    }

    fn set(&mut self, step_env: &StepEnv, name: &str, value: Value) -> Result<(), StepError> {
        match name {
            "headers" => {
                for (name, value) in map(name, value)? {
                    for text in plain_values(&format!("headers.{name}"), value)? {
                        self.header(&name, &text, false)?;
                    }
                }
            }
            "query" => {
                let pairs = pairs(name, value)?;
                if !pairs.is_empty() {
                    self.url.query_pairs_mut().extend_pairs(pairs);
                }
            }
            "json" => self.carry(value.to_string().into_bytes(), "application/json")?,
            "body" => self.carry(text(name, value)?.into_bytes(), "text/plain; charset=utf-8")?,
            "form" => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                let form = form.extend_pairs(pairs(name, value)?).finish();
                self.carry(form.into_bytes(), "application/x-www-form-urlencoded")?;
            }
            "base64" => {
                let bytes = STANDARD.decode(text(name, value)?);
                let bytes =
                    bytes.map_err(|error| StepError::fatal(format!("`base64` does not hold base64: {error}")))?;
                self.carry(bytes, "application/octet-stream")?;
            }
            "timeout" => self.timeout = length(name, &value)?,
            "redirects" => {
                self.redirects = match &value {
                    Value::Bool(true) => USUAL_REDIRECTS,
                    Value::Bool(false) => 0,
                    _ => number(name, &value, 50)?,
                }
            }
            "max_size" => self.max_size = number(name, &value, MAX_SIZE)?,
            "expect" => {
                let statuses = if let Value::Array(statuses) = value { statuses } else { vec![value] };
                for status in &statuses {
                    self.expect.insert(number(name, status, 599)? as u16);
                }
            }
            "response" => {
                self.form = match value.as_str() {
                    Some("auto") => Form::Auto,
                    Some("json") => Form::Json,
                    Some("text") => Form::Text,
                    Some("base64") => Form::Base64,
                    _ => return Err(wrong("`response`", "\"auto\", \"json\", \"text\" or \"base64\"", &value)),
                }
            }
            "bearer" => self.bearer(step_env, &text(name, value)?)?,
            "basic" => self.basic(step_env, map(name, value)?)?,
            "secrets" => {
                for (header, secret) in map(name, value)? {
                    let secret = text(&format!("secrets.{header}"), secret)?;
                    self.secret(step_env, &header, &secret)?;
                }
            }
            "idempotency_key" => {
                self.key = match value {
                    Value::Bool(true) => Key::Step,
                    Value::Bool(false) => Key::None,
                    value => Key::Own(text(name, value)?),
                }
            }
            _ => return Err(StepError::fatal(format!("HTTP requests have no option {name:?}"))),
        }
        Ok(())
    }

    /// `Authorization: Basic`, of a user and the secret that is his password.
    fn basic(&mut self, step_env: &StepEnv, mut parts: Map<String, Value>) -> Result<(), StepError> {
        let mut part = |name: &str| match parts.remove(name) {
            Some(value) => text(&format!("basic.{name}"), value),
            None => Err(StepError::fatal(format!(
                "`basic` needs `{name}`: #{{ user, password }}, where password is the name of a secret"
            ))),
        };
        let (user, secret) = (part("user")?, part("password")?);
        let both = format!("{user}:{}", step_env.secret(&secret)?);
        if let Some(name) = parts.keys().next() {
            return Err(StepError::fatal(format!("`basic` has no {name:?}: it is #{{ user, password }}")));
        }
        self.header("authorization", &format!("Basic {}", STANDARD.encode(both)), true)?;
        Ok(())
    }

    /// A body, unless there is one.
    pub fn carry(&mut self, body: Vec<u8>, kind: &'static str) -> Result<(), StepError> {
        if self.body.replace(body).is_some() {
            return Err(StepError::fatal(
                "an HTTP request has one body: use one of `json`, `body`, `form` and `base64`",
            ));
        }
        self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
        Ok(())
    }

    pub fn bearer(&mut self, step_env: &StepEnv, secret: &str) -> Result<(), StepError> {
        self.header("authorization", &format!("Bearer {}", step_env.secret(secret)?), true)
    }

    pub fn secret(&mut self, step_env: &StepEnv, header: &str, secret: &str) -> Result<(), StepError> {
        self.header(header, &step_env.secret(secret)?, true)
    }

    /// The value of a secret one is not shown, also not in an error.
    pub fn header(&mut self, name: &str, value: &str, secret: bool) -> Result<(), StepError> {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| StepError::fatal(format!("{name:?} cannot be the name of a header")))?;
        if CARRIED.contains(&header.as_str()) {
            return Err(StepError::fatal(format!(
                "the header {name} cannot be set: it follows from the rest of the request"
            )));
        }
        if header == AUTHORIZATION && self.headers.contains_key(AUTHORIZATION) {
            return Err(StepError::fatal(
                "the header Authorization is set twice: use one of `bearer`, `basic`, `secrets` and `headers` for it",
            ));
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            StepError::fatal(format!(
                "the header {name} cannot hold its value: line ends and control characters do not fit"
            ))
        })?;
        value.set_sensitive(secret);
        if header == CONTENT_TYPE {
            self.headers.insert(header, value);
        } else {
            self.headers.append(header, value);
        }
        Ok(())
    }

    /// Names the span it is sent from, unless its headers name one. Another origin that it is redirected to is not told.
    pub fn traced(&mut self, traceparent: &str) -> Result<(), StepError> {
        match self.headers.contains_key("traceparent") {
            true => Ok(()),
            false => self.header("traceparent", traceparent, false),
        }
    }

    /// Whether the key of the step goes with it.
    pub fn wants_key(&self) -> bool {
        self.key == Key::Step
            && !self.headers.contains_key("idempotency-key")
            && [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&self.method)
    }
}

/// Any token; in capital letters where a script wrote a usual one in small letters.
pub fn method(name: &str) -> Result<Method, StepError> {
    let bad = || {
        StepError::fatal(format!("{name:?} is no HTTP method: write GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS"))
    };
    match Method::from_bytes(name.to_ascii_uppercase().as_bytes()) {
        Ok(method) if ![Method::CONNECT, Method::TRACE].contains(&method) => Ok(method),
        _ => Err(bad()),
    }
}

fn address(text: &str) -> Result<Url, StepError> {
    // The text itself may hold a password.
    let url = Url::parse(text).map_err(|error| {
        StepError::fatal(format!("`url` is no URL: {error}; write it whole, like https://api.example.com/v1"))
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(StepError::fatal(format!(
            "`url` begins with {}: but only http and https can be spoken",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(StepError::fatal(
            "`url` holds a user or password: use `basic: #{ user, password }` with the name of a secret",
        ));
    }
    Ok(url)
}

fn text(name: &str, value: Value) -> Result<String, StepError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(&format!("`{name}`"), "text", &other)),
    }
}

fn map(name: &str, value: Value) -> Result<Map<String, Value>, StepError> {
    match value {
        Value::Object(map) => Ok(map),
        other => Err(wrong(&format!("`{name}`"), "a map", &other)),
    }
}

/// Names and values of a query or a form: an array repeats its name, () leaves it out.
fn pairs(name: &str, value: Value) -> Result<Vec<(String, String)>, StepError> {
    let mut pairs = Vec::new();
    for (key, value) in map(name, value)? {
        pairs.extend(plain_values(&format!("{name}.{key}"), value)?.into_iter().map(|value| (key.clone(), value)));
    }
    Ok(pairs)
}

fn plain_values(name: &str, value: Value) -> Result<Vec<String>, StepError> {
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values,
        value => vec![value],
    };
    let plain = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(wrong(&format!("`{name}`"), "text, a number, true or false, or an array of those", &other)),
    };
    values.into_iter().map(plain).collect()
}

fn number(name: &str, value: &Value, max: usize) -> Result<usize, StepError> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| *number <= max)
        .ok_or_else(|| wrong(&format!("`{name}`"), &format!("a whole number up to {max}"), value))
}

fn length(name: &str, value: &Value) -> Result<Duration, StepError> {
    match duration::from_json(value) {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        Ok(_) => Err(StepError::fatal(format!("`{name}` is 0: no request is that fast"))),
        Err(why) => Err(StepError::fatal(format!("`{name}`: {why}"))),
    }
}

/// What was found is cut: an input may be long.
fn wrong(what: &str, wanted: &str, found: &Value) -> StepError {
    let found: String = found.to_string().chars().take(60).collect();
    StepError::fatal(format!("{what} of an HTTP request is {found}, but must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, StepEnvConfig, StepEnvHandle};

    #[test]
    fn every_user_of_a_password_adds_nothing_to_look_for() {
        let variable = ("DURHAI_SECRET_PASS".to_owned(), "open-sesame".to_owned());
        let environment = Environment::from_iter([variable]);
        let step_env = StepEnvHandle::new(StepEnvConfig { environment, ..StepEnvConfig::default() }).current();
        let mut looked_for = Vec::new();
        for user in ["ann", "bob", "carol"] {
            let basic = serde_json::json!({ "user": user, "password": "pass" });
            let input = serde_json::json!({ "url": "http://api.test/", "basic": basic });
            let request = Request::read(&step_env, Some(Method::GET), input).unwrap();
            let sent = request.headers[AUTHORIZATION].to_str().unwrap();
            let hidden = step_env.known.hide(sent).expect("it holds the password");
            assert!(hidden.contains("[secret pass]"), "{hidden}");
            looked_for.push(format!("{:?}", step_env.known));
        }
        assert!(looked_for.iter().all(|forms| *forms == looked_for[0]), "{looked_for:?}");
    }
}
