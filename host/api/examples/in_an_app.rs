//! durhai in an app that has its own routes: `cargo run -p durhai-api --example in_an_app`, then open
//! http://127.0.0.1:7799/durhai/ and stop it with Ctrl-C while the page is open.

use std::error::Error;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use durhai::Host;
use durhai_api::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let host = Host::builder()
        .workflow("hello", "sleep(\"10s\"); `hello ${input}`")
        // Where hooks are found from outside.
        .public_url("http://127.0.0.1:7799/durhai")
        .start()
        .await?;
    host.run("hello").input("world").start().await?;

    // Beyond this machine it needs a `token`, and the app's own name in `allowed_hosts`.
    let config = Config::default();
    let closing = config.closing.clone();
    let app = Router::new()
        .route("/", get(|| async { "the app's own; durhai is below /durhai/" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the app's own 404") })
        .nest_service("/durhai", durhai_api::router(host.clone(), config));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:7799").await?;
    println!("http://{}/durhai/", listener.local_addr()?);
    let stopped = async move {
        let _ = tokio::signal::ctrl_c().await;
        // The page follows what changes; without this the server would wait for it.
        closing.close();
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    host.shutdown().await;
    Ok(())
}
