//! Scripts are saved while one looks: what does not compile, what does not fit, what serves.

use serde_json::json;

use super::site::Site;

const FIRST: &str =
    "//! Counts.\nlet a = use_step(\"t.echo\", 1);\nwait_for(\"go\");\nlet b = use_step(\"t.echo\", 2);\na + b";

#[tokio::test]
async fn a_save_is_reported_by_itself() {
    let Some(site) = Site::open(&[("count", FIRST)]).await else { return };
    let browser = &site.browser;
    site.start("count", "live", json!(null)).await;
    site.is("live", "waiting").await;
    let first = site.get("/workflows/count").await["version"].as_str().expect("a version").to_owned();
    site.go("workflows/count").await;
    browser.reads("Recent runs").await;
    browser.view("workflow").await;
    browser.script("window.same = true", &[]).await;

    // It does not compile: the line and a caret, and what serves.
    site.folder.script("count", "//! Counts.\nlet a = use_step(\"t.echo\", 1;\na");
    browser.reads("The last save does not load; the version before it serves on.").await;
    browser.says("pre.compiler", "count.rhai:2:").await;
    browser.says("pre.compiler", "let a = use_step(\"t.echo\", 1;").await;
    browser.says("pre.compiler", "^").await;
    browser.view("workflow-broken").await;
    browser.to("#/workflows").await;
    browser.reads("last save does not load").await;
    browser.picture("workflows-broken").await;
    browser.to("#/workflows/count").await;
    browser.reads("The last save does not load").await;

    // It compiles, and does something else than the run that is live.
    site.folder.script("count", &FIRST.replace("t.echo\", 1", "t.echo\", 10"));
    browser.reads("1 of 1 live run does not fit").await;
    browser.press("Report").await;
    browser.see(".sides").await;
    for side in ["let a = use_step(\"t.echo\", 1);", "let a = use_step(\"t.echo\", 10);"] {
        browser.says(".sides pre", side).await;
    }
    browser.reads("Recorded").await;
    browser.reads("The script asks for").await;
    browser.view("workflow-report").await;

    // One that fits serves at once.
    site.folder.script("count", &FIRST.replace("a + b", "(a + b) * 100"));
    browser.reads("The live run fits").await;
    site.reloaded("count").await;
    browser.to("#/workflows/count?tab=versions").await;
    browser.holds("return document.querySelectorAll('.panel tbody tr').length >= 3 && !!document.querySelector('.difference')").await;
    browser.says(".difference .removed, .difference .of", "let a = use_step(\"t.echo\", 10);").await;
    browser.says(".difference .added, .difference .of", "(a + b) * 100").await;
    browser.view("workflow-versions").await;
    browser.to(&format!("#/workflows/count?tab=source&version={first}")).await;
    browser.says(".code .line[data-line='5']", "a + b").await;
    // The run that waits at its line.
    browser.says(".code .line[data-line='3']", "1 live run waits here").await;
    browser.view("workflow-source").await;
    browser.to("#/workflows/count").await;
    browser.press("Start").await;
    browser.dialog("Start count").await;
    browser.press("Start").await;
    browser.reads("waits for signal go").await;
    browser.press("Send go …").await;
    browser.dialog("Send a signal").await;
    browser.press("Send").await;
    browser.says(".run-values", "300").await;
    assert_eq!(browser.script("return window.same", &[]).await, json!(true));
    browser.is_quiet(&[]).await;
}
