//! Errors as RFC 9457 problem documents.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use durhai::{Failure, HostError, WorldError};
use serde::{Deserialize, Serialize};

/// An error as the API answers it, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:durhai:problem:` and the name of the [kind](ProblemKind).
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// What a step threw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<Failure>>,
}

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProblemKind {
    #[serde(rename = "urn:durhai:problem:invalid")]
    Invalid,
    #[serde(rename = "urn:durhai:problem:unauthorized")]
    Unauthorized,
    #[serde(rename = "urn:durhai:problem:forbidden")]
    Forbidden,
    #[serde(rename = "urn:durhai:problem:not_found")]
    NotFound,
    #[serde(rename = "urn:durhai:problem:method")]
    Method,
    /// The request came too slowly.
    #[serde(rename = "urn:durhai:problem:timeout")]
    Timeout,
    #[serde(rename = "urn:durhai:problem:conflict")]
    Conflict,
    #[serde(rename = "urn:durhai:problem:too_large")]
    TooLarge,
    #[serde(rename = "urn:durhai:problem:media_type")]
    MediaType,
    #[serde(rename = "urn:durhai:problem:script")]
    Script,
    #[serde(rename = "urn:durhai:problem:step_failed")]
    StepFailed,
    /// A handler panicked.
    #[serde(rename = "urn:durhai:problem:internal")]
    Internal,
    /// A limit of the server is reached for now.
    #[serde(rename = "urn:durhai:problem:busy")]
    Busy,
    #[serde(rename = "urn:durhai:problem:locked")]
    Locked,
    #[serde(rename = "urn:durhai:problem:unavailable")]
    Unavailable,
    #[serde(rename = "urn:durhai:problem:corrupt")]
    Corrupt,
    #[serde(rename = "urn:durhai:problem:closed")]
    Closed,
}

/// Every kind of problem with its status and title.
pub const PROBLEMS: [(ProblemKind, u16, &str); 17] = [
    (ProblemKind::Invalid, 400, "The request is not valid"),
    (ProblemKind::Unauthorized, 401, "A token is needed"),
    (ProblemKind::Forbidden, 403, "This request is not allowed from there"),
    (ProblemKind::NotFound, 404, "There is no such thing"),
    (ProblemKind::Method, 405, "This cannot be done there"),
    (ProblemKind::Timeout, 408, "The request took too long"),
    (ProblemKind::Conflict, 409, "It contradicts what is there"),
    (ProblemKind::TooLarge, 413, "The request is too large"),
    (ProblemKind::MediaType, 415, "The body must be JSON"),
    (ProblemKind::Script, 422, "The script is wrong"),
    (ProblemKind::StepFailed, 422, "The step failed"),
    (ProblemKind::Internal, 500, "Something broke"),
    (ProblemKind::Busy, 503, "The server has too much to do"),
    (ProblemKind::Locked, 503, "The store is in use elsewhere"),
    (ProblemKind::Unavailable, 503, "The store does not answer"),
    (ProblemKind::Corrupt, 500, "The store is damaged"),
    (ProblemKind::Closed, 503, "The host is stopping"),
];

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        // The table names every kind; the test below holds it.
        let (status, title) = PROBLEMS
            .iter()
            .find(|(listed, ..)| *listed == kind)
            .map_or((500, "Something went wrong"), |(_, status, title)| (*status, *title));
        Problem { kind, title: title.into(), status, detail: detail.into(), error: None }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Problem::new(ProblemKind::Invalid, detail)
    }

    /// A step that was called by hand and failed.
    pub(crate) fn of_step(failure: Failure) -> Self {
        let kind = match failure.kind {
            durhai::FailureKind::UnknownStep => ProblemKind::NotFound,
            durhai::FailureKind::InvalidInput => ProblemKind::Invalid,
            _ => ProblemKind::StepFailed,
        };
        Problem { error: Some(Box::new(failure.clone())), ..Problem::new(kind, failure.message) }
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let kind = match &error {
            HostError::Invalid(_) | HostError::World(WorldError::Invalid(_)) => ProblemKind::Invalid,
            HostError::NotFound(_) => ProblemKind::NotFound,
            HostError::Conflict(_) => ProblemKind::Conflict,
            HostError::Script(_) => ProblemKind::Script,
            HostError::World(WorldError::Locked(_)) => ProblemKind::Locked,
            HostError::World(WorldError::Unavailable(_)) => ProblemKind::Unavailable,
            HostError::World(WorldError::Corrupt(_)) => ProblemKind::Corrupt,
            HostError::Closed => ProblemKind::Closed,
        };
        Problem::new(kind, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let bearer = (self.status == 401).then_some([(header::WWW_AUTHENTICATE, "Bearer")]);
        (status, bearer, [(header::CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_errors_keep_who_must_act() {
        for (error, status) in [
            (HostError::Invalid("x".into()), 400),
            (HostError::NotFound("x".into()), 404),
            (HostError::Conflict("x".into()), 409),
            (HostError::Script("x".into()), 422),
            (HostError::World(WorldError::Invalid("x".into())), 400),
            (HostError::World(WorldError::Locked("x".into())), 503),
            (HostError::World(WorldError::Unavailable("x".into())), 503),
            (HostError::World(WorldError::Corrupt("x".into())), 500),
            (HostError::Closed, 503),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.status, status, "{problem:?}");
            let json = serde_json::to_string(&problem).expect("JSON");
            assert_eq!(serde_json::from_str::<Problem>(&json).expect("a problem"), problem);
        }
    }

    #[test]
    fn it_is_sent_as_a_problem_document() {
        let response = Problem::new(ProblemKind::Unauthorized, "x").into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
