//! Who may ask: the checks in front of every route.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Problem, ProblemKind};
use crate::routes::Shared;

/// Refuses what is not meant for this server or may not ask it.
pub(crate) async fn guard(State(app): State<Shared>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(app: &Shared, request: &Request) -> Result<(), Problem> {
    let config = &app.config;
    let headers = request.headers();
    // Whoever knows a hook's token may use it, from wherever he comes.
    let to_hook = request.uri().path().starts_with("/hooks/");
    if config.checks_host() {
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => text(headers, header::HOST),
        };
        let host = host.ok_or_else(|| Problem::invalid("the request has no Host header"))?;
        let ours = if to_hook { config.names_our_hooks(host) } else { config.names_us(host) };
        if !ours {
            let detail = format!(
                "the request is for {host:?}, which is not this server: use localhost, a loopback address or the \
                 address it listens on"
            );
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        if !to_hook {
            foreign_page(app, headers)?;
        }
    }
    match &config.token {
        Some(token) if request.uri().path().starts_with("/api") => match bearer(headers) {
            Some(offered) if token.matches(offered) => Ok(()),
            Some(_) => Err(Problem::new(ProblemKind::Unauthorized, "the token is not the one of this server")),
            None => Err(Problem::new(ProblemKind::Unauthorized, "send the token as `Authorization: Bearer TOKEN`")),
        },
        _ => Ok(()),
    }
}

/// A browser says which page a request comes from; pages of other sites have no business here.
fn foreign_page(app: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |origin: &str| {
        Err(Problem::new(ProblemKind::Forbidden, format!("a page of {origin:?} may not use this server")))
    };
    match text(headers, header::ORIGIN) {
        Some(origin) => match origin.split_once("://") {
            Some((_, host)) if app.config.names_us(host) => Ok(()),
            _ => refuse(origin),
        },
        None if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") => refuse("another site"),
        None => Ok(()),
    }
}

/// The token that a request brings.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
