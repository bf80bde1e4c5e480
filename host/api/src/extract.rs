//! Requests taken apart, with a problem document for whatever does not fit.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use durhai::view::QueryValue;
use durhai::{Run, Status, json};
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::pace::TooSlow;
use crate::problem::{Problem, ProblemKind};

/// The largest number that every client can write and read.
pub(crate) const WHOLE: u64 = (1 << 53) - 1;

/// A JSON body. An empty one counts as `{}`.
pub(crate) struct JsonBody<T>(pub T);

/// A body as it came.
pub(crate) struct Raw(pub Bytes);

/// The query's parameters, in order, repeated ones kept. Take them out one by one, then call [`Params::done`].
pub(crate) struct Params(Vec<(String, String)>);

/// What the path names.
pub(crate) struct Named<T>(pub T);

/// The run that the path names.
pub(crate) struct OfRun(pub Run);

impl<T: DeserializeOwned> FromRequest<Shared> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(String::from);
        let Raw(bytes) = Raw::from_request(request, state).await?;
        if bytes.is_empty() {
            return parse(b"{}");
        }
        // A page of another site can send text without asking first, but not JSON.
        let essence = kind.as_deref().and_then(|kind| kind.split(';').next()).map(str::trim);
        match essence {
            Some(kind) if kind.eq_ignore_ascii_case("application/json") => parse(&bytes),
            other => {
                let found = other.unwrap_or("nothing");
                let detail = format!("the Content-Type is {found:?}; send application/json");
                Err(Problem::new(ProblemKind::MediaType, detail))
            }
        }
    }
}

impl FromRequest<Shared> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Raw).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let limit = state.config.limits.body_bytes;
                Problem::new(ProblemKind::TooLarge, format!("the body is larger than {limit} bytes"))
            }
            _ if TooSlow::is_in(&rejection) => Problem::new(ProblemKind::Timeout, TooSlow.to_string()),
            _ => Problem::invalid(rejection.body_text()),
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, Problem> {
    // The fields of an array would be taken in the order they are declared in.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid("the body does not fit: it must be an object, `{ … }`"));
    }
    json::from_slice(bytes, "")
        .map(JsonBody)
        .map_err(|error| Problem::invalid(format!("the body does not fit: {}", in_json(error.to_string()))))
}

/// What is wrong, without the names that types have in this program.
fn in_json(text: String) -> String {
    match text.split_once("expected struct ") {
        Some((before, rest)) => {
            let rest = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            format!("{before}expected an object{rest}")
        }
        None => text,
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Params(pairs)),
            Err(error) => Err(Problem::invalid(error.body_text())),
        }
    }
}

impl Params {
    /// Every value of a parameter.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// A parameter that may be given once.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut all = self.all(name);
        match all.len() {
            0 | 1 => Ok(all.pop()),
            _ => Err(Problem::invalid(format!("the parameter `{name}` is given {} times", all.len()))),
        }
    }

    /// The same, read as something else than text.
    pub fn read<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        match self.one(name)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(Problem::invalid(format!("the parameter `{name}` is {text:?}: {error}"))),
            },
        }
    }

    /// A whole number within bounds.
    pub fn whole(&mut self, name: &str, bounds: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        match self.read::<u64>(name)? {
            Some(number) if !bounds.contains(&number) => Err(Problem::invalid(format!(
                "the parameter `{name}` is {number}; it must be from {} to {}",
                bounds.start(),
                bounds.end()
            ))),
            number => Ok(number),
        }
    }

    /// Every `status`, read.
    pub fn statuses(&mut self) -> Result<Vec<Status>, Problem> {
        self.all("status")
            .iter()
            .map(|status| status.parse().map_err(|error: String| Problem::invalid(error)))
            .collect()
    }

    /// All of them, by name.
    pub fn by_name(self) -> BTreeMap<String, QueryValue> {
        let mut all: BTreeMap<String, QueryValue> = BTreeMap::new();
        for (name, value) in self.0 {
            match all.entry(name) {
                Entry::Vacant(free) => drop(free.insert(value.into())),
                Entry::Occupied(mut taken) => taken.get_mut().push(value),
            }
        }
        all
    }

    /// Refuses parameters that the route did not take.
    pub fn done(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(format!("there is no parameter `{name}` here"))),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        named.map(|Path(named)| Named(named)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

impl FromRequestParts<Shared> for OfRun {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let Named(id) = Named::<String>::from_request_parts(parts, state).await?;
        Ok(OfRun(state.host.get(&id).await?))
    }
}
