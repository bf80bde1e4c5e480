//! What a host does by itself, and how it is: schedules, health, runs that need an operator.

use serde_json::json;

use super::site::Site;

const NIGHTLY: &str = r#"//! Cleans up.
const WORKFLOW = #{ schedule: #{ cron: "30 2 * * MON-FRI", timezone: "Europe/Berlin", overlap: "skip", input: #{ keep: 3 } } };
wait_for("go");
"cleaned""#;

#[tokio::test]
async fn schedules_are_seen_held_and_started() {
    let Some(site) =
        Site::open(&[("nightly", NIGHTLY), ("yearly", "const WORKFLOW = #{ schedule: \"0 0 1 1 *\" };\n1")]).await
    else {
        return;
    };
    let browser = &site.browser;
    site.go("schedules").await;
    browser.reads("30 2 * * MON-FRI").await;
    browser.holds("return document.querySelectorAll('.schedule .ticks li').length === 10").await;
    // The next moments are in order, in local time with UTC beside.
    let ticks = "const all = [...document.querySelector('.schedule').querySelectorAll('.ticks li > time')].map((one) => Date.parse(one.dateTime)); \
                 return all.length === 5 && all.every((at, n) => at > (all[n - 1] ?? Date.now()))";
    browser.holds(ticks).await;
    browser.view("schedules-some").await;
    browser.press("Pause: nightly").await;
    browser.reads("It is paused. Resume it, or run it now.").await;
    browser.holds("return document.activeElement.getAttribute('aria-label') === 'Resume: nightly'").await;
    browser.picture("schedules-paused").await;
    browser.press("Resume: nightly").await;
    browser.see("button[aria-label='Pause: nightly']").await;
    browser.holds("return document.querySelectorAll('.schedule .ticks li').length === 10").await;
    browser.press("Run now: nightly").await;
    browser.says(".toast", "started.").await;
    browser.press("Go there").await;
    browser.reads("waits for signal go").await;
    browser.says(".run-values", "keep").await;
    browser.is_quiet(&[]).await;
}

#[tokio::test]
async fn what_needs_an_operator_is_found_and_mended() {
    let Some(mut site) = Site::open(&[]).await else { return };
    let work = format!("//! Works.\nuse_step(\"t.echo\", 1);\nuse_step(\"p.when_there\", {:?})", site.file("there"));
    site.folder.script("work", &work);
    let store = format!("sled:{}", site.file("store"));
    site.serve(&store);
    site.start("work", "stuck", json!(null)).await;
    site.start("echo", "fine", json!(null)).await;
    site.is("fine", "completed").await;
    site.waits_at("stuck", "p.when_there").await;
    // The host comes back without a step that was under way.
    let steps = site.folder.path().join("scripts/steps/p.rhai");
    let text = std::fs::read_to_string(&steps).expect("steps");
    std::fs::remove_file(&steps).expect("it was there");
    site.serve(&store);
    site.is("stuck", "parked").await;

    let browser = &site.browser;
    site.go("health").await;
    browser.reads("The host does its work.").await;
    browser.says(".health .status.parked", "missing step").await;
    browser.reads("Provide the step again").await;
    browser.says(".census", "completed").await;
    browser.reads("Workflows that do not load").await;
    browser.says(".health .compiler", "let x = ;").await;
    browser.press("Look at everything").await;
    browser.reads("All is well").await;
    browser.holds("return [...document.querySelectorAll('.chart .line')].every((one) => one.hasAttribute('d'))").await;
    browser.view("health-parked").await;
    browser.see(".health a[href='#/runs/stuck']").await.click().await.expect("it is a link");
    browser.reads("It is parked: it needs an operator").await;
    browser.reads("p.when_there").await;
    browser.settled().await;
    browser.view("run-parked").await;
    std::fs::write(&steps, text).expect("a file");
    site.touch("there");
    browser.waits("the step to be there", async || site.get("/steps").await.to_string().contains("p.when_there")).await;
    browser.press("Unpark").await;
    browser.see(".run-status .status.completed").await;
    browser.to("#/health").await;
    browser.reads("None: no run waits for an operator.").await;
    browser.is_quiet(&[]).await;
}
