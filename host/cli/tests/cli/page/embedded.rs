//! The page in an app of an embedder, below a path of its own.

use durhai::Host;
use durhai_api::{Config, router};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::browser::Browser;

#[tokio::test(flavor = "multi_thread")]
async fn it_works_below_a_path_and_lets_the_app_end() {
    let Some(browser) = Browser::open().await else { return };
    let host = Host::builder().workflow("waits", "wait_for(\"go\")").start().await.expect("a host");
    host.run("waits").id("w-1").start().await.expect("a run");
    let config = Config::default();
    let closing = config.closing.clone();
    let app = axum::Router::new().fallback(|| async { "the app's own" });
    let app = app.nest_service("/my/flows", router(host.clone(), config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopping = async move {
        let _ = stopped.await;
        closing.close();
    };
    let server = tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopping).await });
    for place in ["my/flows", "my/flows/"] {
        browser.go(&format!("http://{address}/{place}")).await;
        browser.reads("w-1").await;
        browser.to("#/runs/w-1").await;
        browser.reads("waits for signal go").await;
        browser.to("#/workflows/waits").await;
        browser.reads("Reload report").await;
        let elsewhere = "return performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname)\
                         .filter((path) => !path.startsWith('/my/flows/'))";
        assert_eq!(browser.script(elsewhere, &[]).await, serde_json::json!([]));
    }
    browser.picture("embedded").await;
    // The page follows what changes, and is no reason to wait.
    browser.is_quiet(&[]).await;
    stop.send(()).expect("it listens");
    tokio::time::timeout(std::time::Duration::from_secs(60), server)
        .await
        .expect("it ends")
        .expect("well")
        .expect("all");
    host.shutdown().await;
}
