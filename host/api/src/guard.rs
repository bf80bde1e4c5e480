//! Who may ask: the checks in front of every route.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Shared;
use crate::authority::{Authority, Origin};
use crate::problem::{Problem, ProblemKind};

/// What pages of allowed origins may send and read, beside what any page may.
const METHODS: &str = "GET, HEAD, POST, DELETE";
const SENT: &str = "authorization, content-type, idempotency-key, last-event-id";
const READ: &str = "etag, retry-after";

/// How long a browser remembers what a page may do, in seconds.
const REMEMBERED: &str = "600";

/// Refuses what is not meant for this server or may not ask it.
pub(crate) async fn guard(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let (uri, headers) = (request.uri(), request.headers());
    let allowed = match host(&app, uri, headers).and_then(|host| page(&app, &request, host.as_ref())) {
        Ok(allowed) => allowed,
        Err(problem) => return problem.into_response(),
    };
    let asks = allowed.is_some() && request.method() == Method::OPTIONS;
    let mut response = if asks && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        may()
    } else if let Err(problem) = token(&app, uri.path(), headers) {
        problem.into_response()
    } else {
        next.run(request).await
    };
    if !app.config.allowed_origins.is_empty() {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
    }
    response
}

/// The page, and whether the server lives: no token is needed for them, and no place among the requests.
pub(crate) fn needs_nothing(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz") || is_page(path)
}

/// The token that a request brings.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(only(headers, header::AUTHORIZATION).ok()??)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// A client that knows a hook's token may use it, wherever it comes from.
fn is_hook(path: &str) -> bool {
    path.starts_with("/hooks/")
}

/// The host that the request names. It must be this one, so that no name which a stranger bound to this address
/// makes a page of his one of ours.
fn host(app: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
    let config = &app.config;
    let header = only(headers, header::HOST)?.map(|host| text(host).unwrap_or("?"));
    let named = uri.authority().map(|authority| authority.as_str()).into_iter().chain(header);
    let mut host = None;
    for name in named {
        let read = Authority::parse(name)
            .ok_or_else(|| Problem::invalid(format!("the request is for {name:?}, which is no name of a host")))?;
        let ours = if is_hook(uri.path()) { config.names_our_hooks(&read) } else { config.names_us(&read) };
        if config.checks_host() && !ours {
            let allow = match config.command_line {
                true => "start it with --allow-host",
                false => "add that name to `Config::allowed_hosts`",
            };
            let detail = format!(
                "the request is for {name:?}, which is not this server: use localhost, a loopback address or the \
                 address it listens on, or {allow}"
            );
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        host.get_or_insert(read);
    }
    match host {
        None if config.checks_host() => Err(Problem::invalid("the request has no Host header")),
        host => Ok(host),
    }
}

/// A browser says which page a request comes from; pages of other sites have no business here, unless they were allowed:
/// then it is said what they are called.
fn page(app: &Shared, request: &Request, host: Option<&Authority>) -> Result<Option<HeaderValue>, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    if is_hook(path) {
        return Ok(None);
    }
    let refuse = |origin: &str| {
        let allow = match app.config.command_line {
            true => {
                "start the server with --allow-origin and its scheme, host and port, or with --allow-host if it is this \
                 server's own name"
            }
            false => {
                "add its scheme, host and port to `Config::allowed_origins`, or its host to `Config::allowed_hosts` if it \
                 is this server's own name"
            }
        };
        let detail = format!("a page of {origin} may not use this server; if it is yours, {allow}");
        Err(Problem::new(ProblemKind::Forbidden, detail))
    };
    let Some(header) = only(headers, header::ORIGIN)? else {
        // Without an origin browsers only look. What may be looked at from another site is the page, by a link to it.
        let foreign = |site: &HeaderValue| !matches!(site.as_bytes(), b"same-origin" | b"none");
        let linked = is_page(path)
            && matches!(*request.method(), Method::GET | Method::HEAD)
            && headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        return match headers.get_all("sec-fetch-site").iter().any(foreign) && !linked {
            true => refuse("another site"),
            false => Ok(None),
        };
    };
    let origin = text(header).unwrap_or("?");
    if app.config.allowed_origins.iter().any(|allowed| allowed == origin) {
        return Ok(Some(header.clone()));
    }
    match Origin::parse(origin) {
        Some(read) if host.is_some_and(|host| read.is_of(host)) || app.config.allows_host(&read.authority) => Ok(None),
        _ => refuse(&format!("{origin:?}")),
    }
}

/// What a page of an allowed origin hears before it asks.
fn may() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
        (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// All that is not for everybody needs the token, also what is not there.
fn token(app: &Shared, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = app.config.token.as_ref().filter(|_| !is_hook(path) && !needs_nothing(path)) else {
        return Ok(());
    };
    match bearer(headers) {
        Some(offered) if token.matches(offered) => Ok(()),
        Some(_) => Err(Problem::new(ProblemKind::Unauthorized, "the token is not the one of this server")),
        None => Err(Problem::new(ProblemKind::Unauthorized, "send the token as `Authorization: Bearer TOKEN`")),
    }
}

/// A header that must not be there twice: servers differ in which one they take.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&HeaderValue>, Problem> {
    let mut all = headers.get_all(&name).iter();
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Problem::invalid(format!("the request has more than one {name} header"))),
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
