//! The routes.

mod actions;
mod changes;
mod files;
mod hooks;
mod live;
mod people;
mod runs;
mod schedules;
mod seeing;
mod system;
mod versions;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, Request};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version, header};
use axum::response::sse::Event as Message;
use axum::{Router, middleware};
use durhai::{Host, Millis};
use serde::Serialize;
use tower::Service;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::Config;
use crate::admission::{Admission, admit, broke};
use crate::guard::guard;
use crate::openapi;
use crate::page;
use crate::problem::{Problem, ProblemKind};

pub use runs::{Purging, Started};
pub use versions::Migrating;

/// What every route knows.
pub(crate) struct App {
    pub host: Host,
    pub config: Config,
    pub admission: Admission,
    /// When the server started, in milliseconds since the Unix epoch.
    pub started_at: Millis,
    /// The description of the API, as JSON.
    pub document: Bytes,
}

pub(crate) type Shared = Arc<App>;

/// The API of a host with its page, for an app of one's own: to be merged, or nested below a path of its choice.
///
/// ```no_run
/// # async fn demo(host: durhai::Host) {
/// let app: axum::Router = axum::Router::new()
///     .route("/", axum::routing::get(|| async { "my app" }))
///     .fallback(|| async { "nothing here" })
///     .nest_service("/durhai", durhai_api::router(host, durhai_api::Config::default()));
/// # }
/// ```
///
/// Its routes are `/api/v1/…`, `/hooks/…`, `/healthz`, `/readyz`, `/metrics`, and `/` and `/page/…` for the page; see
/// [`Config::probes`] and [`Config::page`] where an app that merges it has some of them. It has no fallback: what is not
/// below these is the app's. All links and requests of the page stay below where it was found. With `nest` the page is at
/// `/durhai`, with `nest_service` at `/durhai/` too.
///
/// Live streams end when the host does, or [`Config::closing`] is closed.
pub fn router(host: Host, config: Config) -> Router {
    let (page, probes) = (config.page, config.probes);
    let whole = whole(host, config);
    let service = tower::service_fn(move |mut request: Request| {
        // What the app's own path has parameters for is no parameter of a route here.
        let original = request.extensions_mut().remove::<OriginalUri>();
        request.extensions_mut().clear();
        if let Some(original) = original {
            request.extensions_mut().insert(original);
        }
        whole.clone().call(request)
    });
    let mut paths = vec!["/api/v1", "/api/v1/", "/api/v1/{*path}", "/hooks", "/hooks/", "/hooks/{*path}"];
    paths.extend(page.then_some(["/", "/page/{*path}"]).into_iter().flatten());
    paths.extend(probes.then_some(PROBES).into_iter().flatten());
    paths.into_iter().fold(Router::new(), |router, path| router.route_service(path, service.clone()))
}

/// What others ask to see whether a server lives, and how it is.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The same for a server that has nothing else: whatever it does not know is a problem document.
pub(crate) fn whole(host: Host, config: Config) -> Router {
    let page = if config.page { page::routes() } else { Router::new() };
    let (routes, described) = described(config.probes).split_for_parts();
    let document = openapi::document(described, config.token.is_some()).to_string().into();
    let admission = Admission::new(&config.limits);
    let app = Arc::new(App { host, config, admission, started_at: now(), document });
    guarded(routes.merge(page).fallback(unknown).method_not_allowed_fallback(not_there), app)
}

/// Every route but those of the page, with its description.
fn described(probes: bool) -> OpenApiRouter<Shared> {
    let api = OpenApiRouter::new()
        .routes(routes!(system::workflows))
        .routes(routes!(system::workflow))
        .routes(routes!(versions::list))
        .routes(routes!(versions::source))
        .routes(routes!(versions::gate))
        .routes(routes!(versions::migrate_all))
        .routes(routes!(system::steps))
        .routes(routes!(system::call_step))
        .routes(routes!(system::doctor))
        .routes(routes!(system::health))
        .routes(routes!(changes::changes))
        .routes(routes!(runs::list, runs::start))
        .routes(routes!(runs::show, runs::delete))
        .routes(routes!(live::events))
        .routes(routes!(live::logs))
        .routes(routes!(files::export))
        .routes(routes!(runs::state))
        .routes(routes!(runs::streams))
        .routes(routes!(live::output))
        .routes(routes!(people::suspensions))
        .routes(routes!(people::resume))
        .routes(routes!(actions::signal))
        .routes(routes!(actions::cancel))
        .routes(routes!(actions::terminate))
        .routes(routes!(actions::retry))
        .routes(routes!(actions::unpark))
        .routes(routes!(versions::migrate))
        .routes(routes!(seeing::replay))
        .routes(routes!(seeing::trace, seeing::trace_with))
        .routes(routes!(seeing::fork))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::trigger))
        .routes(routes!(files::backup))
        .routes(routes!(files::import))
        .routes(routes!(runs::purge))
        .routes(routes!(system::openapi));
    let all = OpenApiRouter::new()
        .nest("/api/v1", api)
        // A look is no delivery: HEAD is not GET here.
        .routes(routes!(hooks::deliver).map(|methods| methods.head(not_there)));
    match probes {
        true => all.routes(routes!(system::healthz)).routes(routes!(system::readyz)).routes(routes!(system::metrics)),
        false => all,
    }
}

/// Everything that stands in front of the routes: the last layer is the first to see a request.
pub(crate) fn guarded(routes: Router<Shared>, app: Shared) -> Router {
    routes
        .layer(DefaultBodyLimit::max(app.config.limits.body_bytes))
        .layer(compression())
        .layer(middleware::from_fn_with_state(app.clone(), admit))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .layer(CatchPanicLayer::custom(broke))
        .layer(middleware::map_response(page::harden))
        .with_state(app)
}

/// Long lists take a fifth of the time over slow lines. What is streamed goes out as it comes.
fn compression() -> CompressionLayer<impl Predicate> {
    let json = |_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
    };
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(1024).and(json))
}

/// A message of a stream with this as its data.
fn json_data<T: Serialize>(message: Message, data: &T) -> Message {
    // These types have string keys only, so they are always JSON, and JSON text holds no line break.
    message.data(serde_json::to_string(data).expect("views are always JSON"))
}

/// In milliseconds since the Unix epoch.
pub(crate) fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The path is not said again: it may have the token of a hook.
async fn unknown() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is nothing here; the API is below api/v1, the page in front of it")
}

async fn not_there(method: Method) -> Problem {
    Problem::new(ProblemKind::Method, format!("{method} is not possible here"))
}
