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
mod sse;
mod system;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Request};
use axum::http::Method;
use durhai::Host;
use tower::Service;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::app::{App, Shared, now};
use crate::capacity::Capacity;
use crate::config::Config;
use crate::front::guarded;
use crate::openapi;
use crate::page;
use crate::problem::{Problem, ProblemKind};

pub use runs::{Purging, Started};
pub use versions::Migrating;

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
    let capacity = Capacity::new(&config.limits);
    let app = Arc::new(App { host, config, capacity, started_at: now(), document });
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
        .routes(routes!(system::hosts))
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

/// The path is not said again: it may have the token of a hook.
async fn unknown() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is nothing here; the API is below api/v1, the page in front of it")
}

async fn not_there(method: Method) -> Problem {
    Problem::new(ProblemKind::Method, format!("{method} is not possible here"))
}
