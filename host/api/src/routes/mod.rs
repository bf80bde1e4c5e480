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

use axum::extract::DefaultBodyLimit;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version, header};
use axum::response::sse::Event as Message;
use axum::routing::{MethodRouter, get, post};
use axum::{Router, middleware};
use durhai::{Host, Millis};
use serde::Serialize;
use tokio::sync::watch;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use crate::Config;
use crate::admission::{Admission, admit, broke};
use crate::guard::guard;
use crate::page;
use crate::problem::{Problem, ProblemKind};

pub use runs::{Purging, Started};
pub use versions::Migrating;

/// What every route knows.
pub(crate) struct App {
    pub host: Host,
    pub config: Config,
    pub admission: Admission,
    /// Becomes true when the server stops: live streams end.
    pub close: watch::Sender<bool>,
    /// When the server started, in milliseconds since the Unix epoch.
    pub started_at: Millis,
}

pub(crate) type Shared = Arc<App>;

/// The API of a host, for a server of one's own. Live streams end when the host does.
pub fn router(host: Host, config: Config) -> Router {
    router_until(host, config, watch::Sender::new(false))
}

/// The same; live streams also end when `close` is told so.
pub(crate) fn router_until(host: Host, config: Config, close: watch::Sender<bool>) -> Router {
    let page = if config.page { page::routes() } else { Router::new() };
    let admission = Admission::new(&config.limits);
    let app = Arc::new(App { host, config, admission, close, started_at: now() });
    let api = Router::new()
        .route("/workflows", get(system::workflows))
        .route("/workflows/{name}", get(system::workflow))
        .route("/workflows/{name}/versions", get(versions::list))
        .route("/workflows/{name}/versions/{version}", get(versions::source))
        .route("/workflows/{name}/gate", get(versions::gate))
        .route("/workflows/{name}/migrate", post(versions::migrate_all))
        .route("/steps", get(system::steps))
        .route("/steps/{name}", post(system::call_step))
        .route("/doctor", get(system::doctor))
        .route("/health", get(system::health))
        .route("/changes", get(changes::changes))
        .route("/runs", get(runs::list).post(runs::start))
        .route("/runs/{id}", get(runs::show).delete(runs::delete))
        .route("/runs/{id}/events", get(live::events))
        .route("/runs/{id}/logs", get(live::logs))
        .route("/runs/{id}/export", get(files::export))
        .route("/runs/{id}/state", get(runs::state))
        .route("/runs/{id}/streams", get(runs::streams))
        .route("/runs/{id}/output", get(live::output))
        .route("/runs/{id}/suspensions", get(people::suspensions))
        .route("/runs/{id}/resume", post(people::resume))
        .route("/runs/{id}/signal", post(actions::signal))
        .route("/runs/{id}/cancel", post(actions::cancel))
        .route("/runs/{id}/terminate", post(actions::terminate))
        .route("/runs/{id}/retry", post(actions::retry))
        .route("/runs/{id}/unpark", post(actions::unpark))
        .route("/runs/{id}/migrate", post(versions::migrate))
        .route("/runs/{id}/replay", post(seeing::replay))
        .route("/runs/{id}/trace", get(seeing::trace).post(seeing::trace_with))
        .route("/runs/{id}/fork", post(seeing::fork))
        .route("/schedules", get(schedules::list))
        .route("/schedules/{name}/pause", post(schedules::pause))
        .route("/schedules/{name}/resume", post(schedules::resume))
        .route("/schedules/{name}/trigger", post(schedules::trigger))
        .route("/backup", get(files::backup))
        .route("/import", post(files::import))
        .route("/purge", post(runs::purge));
    let routes = Router::new()
        .nest("/api/v1", api)
        // A look is no delivery: HEAD is not GET here.
        .route("/hooks/{token}", any_but_head())
        .route("/healthz", get(system::healthz))
        .route("/readyz", get(system::readyz))
        .merge(page)
        .fallback(unknown)
        .method_not_allowed_fallback(not_there);
    guarded(routes, app)
}

/// Everything that stands in front of the routes: the last layer is the first to see a request.
fn guarded(routes: Router<Shared>, app: Shared) -> Router {
    routes
        .layer(DefaultBodyLimit::max(app.config.limits.body_bytes))
        .layer(compression())
        .layer(middleware::from_fn_with_state(app.clone(), admit))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .layer(CatchPanicLayer::custom(broke))
        .layer(middleware::map_response(page::harden))
        .with_state(app)
}

fn any_but_head() -> MethodRouter<Shared> {
    get(hooks::deliver)
        .post(hooks::deliver)
        .put(hooks::deliver)
        .patch(hooks::deliver)
        .delete(hooks::deliver)
        .head(not_there)
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
fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The path is not said again: it may have the token of a hook.
async fn unknown() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is nothing here; the API is below /api/v1, the page at /")
}

async fn not_there(method: Method) -> Problem {
    Problem::new(ProblemKind::Method, format!("{method} is not possible here"))
}
