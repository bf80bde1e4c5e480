//! Several hosts on one database, as the page of one of them shows them.

use durhai_world_postgres::cluster::Cluster;

use super::site::Site;
use crate::folder::Folder;

#[tokio::test]
async fn hosts_and_what_they_hold_are_seen() {
    let Some(mut site) = Site::open(&[]).await else { return };
    let Some(cluster) = Cluster::start(&[]).expect("a server") else {
        eprintln!("skipped: there is no PostgreSQL here (apt-get install postgresql)");
        return;
    };
    let url = cluster.url("page");
    let other = Folder::new();
    other.script("echo", "\"new\"");
    site.serve(&url);
    let (_other, told) = other.serve(&["-A", "--store", &url]);
    let address = told["address"].as_str().expect("an address").to_owned();
    let browser = &site.browser;

    // A text of the other folder serves.
    site.go("workflows/echo").await;
    browser.says(".notice", "serves in all hosts").await;
    browser.view("workflow-behind").await;
    browser.to("#/workflows").await;
    browser.says(".compat-line", "serves in all hosts").await;

    // A list shows what another host starts and ends.
    site.go("runs").await;
    browser.reads("No run yet").await;
    let post = async |path: &str, body: serde_json::Value| {
        let answer = reqwest::Client::new().post(format!("{address}/api/v1{path}")).json(&body).send().await;
        answer.expect("it answers").status().as_u16()
    };
    let start = serde_json::json!({ "workflow": "gate", "id": "listed" });
    assert_eq!(post("/runs", start).await, 201);
    browser.reads("listed").await;
    assert_eq!(post("/runs/listed/signal", serde_json::json!({ "name": "go", "payload": 1 })).await, 202);
    browser.reads("completed").await;

    // Which host has a run, in the run's own words and in the list of hosts.
    site.start("gate", "here", serde_json::json!(null)).await;
    let start = serde_json::json!({ "workflow": "gate", "id": "there" });
    assert_eq!(post("/runs", start).await, 201);
    site.go("runs/here").await;
    browser.says(".run-facts", "this one").await;
    browser.to("#/runs/there").await;
    browser.says(".run-facts", "process").await;
    browser.view("run-elsewhere").await;
    browser.to("#/health").await;
    browser.says("[aria-label='Hosts'] tr:nth-child(1)", "this one").await;
    browser.holds("return document.querySelectorAll(\"[aria-label='Hosts'] tbody tr\").length === 2").await;
    browser.view("health-hosts").await;
    browser.is_quiet(&[]).await;
}
