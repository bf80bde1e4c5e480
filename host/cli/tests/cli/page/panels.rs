//! One run: each of its panels, links into them, and a run that is long.

use serde_json::json;

use super::browser::Screen;
use super::site::Site;
use super::webdriver::key;

const MIX: &str = r#"//! Something of everything.
import "lib/words" as words;
print("begins");
log("warn", "stock is low", #{ left: 2, of: ["mug", "pot"] });
set_status("packing");
set_state("order", #{ id: 17, items: ["mug"] });
let big = use_step("p.long", 5000);
emit(#{ packed: "mug" });
emit("notes", "line one\nline two");
let both = parallel(#{
    left: || use_step("t.echo", 1),
    right: || use_step("p.flaky", 2, #{ retry: #{ initial: "10ms" } }),
});
let child = run_workflow("echo", both);
let sum = words::twice(both.left);
let said = wait_for("go", #{ timeout: "3 days" });
emit(#{ said: said });
sum + said"#;

const WORDS: &str = "fn twice(x) { let doubled = x * 2; doubled }\n";

#[tokio::test]
// Over 80 lines: one walk through the page, each step from where the one before has led.
async fn every_panel_of_a_run() {
    let Some(site) = Site::open(&[]).await else { return };
    std::fs::create_dir(site.folder.path().join("scripts/lib")).expect("a folder");
    site.folder.script("lib/words", WORDS);
    site.folder.script("mix", MIX);
    let browser = &site.browser;
    site.reloaded("mix").await;
    let start = json!({ "workflow": "mix", "id": "mix", "input": { "order": [1, 2] }, "tags": { "customer": "ann" } });
    site.post("/runs", start).await;
    site.is("mix", "waiting").await;

    site.go("runs/mix").await;
    for name in ["p.long", "t.echo", "p.flaky"] {
        browser.says(".tl-row .tl-name", name).await;
    }
    browser.says(".tl-row .tl-tries", "×2").await;
    browser.see(".tl-row .bar.retry").await;
    browser.script("window.same = true", &[]).await;
    browser.view("run-timeline").await;
    // The call that was tried twice, by its link; its first attempt with what went wrong.
    let events = site.get("/runs/mix/events?limit=1000").await;
    let list = events["events"].as_array().expect("events");
    let retried = list.iter().find(|event| event["type"] == "step_retrying").expect("a retry");
    let step = retried["step_id"].as_str().expect("an id");
    browser.to(&format!("#/runs/mix?step={step}")).await;
    browser.see(".tl-detail").await;
    browser.says(".tl-detail", "2 attempts").await;
    browser.says(".tl-detail", "the line is engaged (1)").await;
    browser.view("run-call").await;
    browser.press("Close the details").await;
    browser.holds("return !document.querySelector('.tl-detail')").await;

    // The log: an event by its number, with a value that was cut, whole on request.
    let long = list.iter().find(|event| event["type"] == "step_completed").expect("an event");
    let seq = long["seq"].as_u64().expect("a number");
    browser.to(&format!("#/runs/mix?tab=log&seq={seq}")).await;
    browser.see(".log-open .json-cut").await;
    browser.view("run-log").await;
    browser.see(".log-open .json-cut ~ button").await.click().await.expect("it can be pressed");
    browser.says(".log-open", "length: 5000").await;
    browser.see(".log-open .json-string button").await.click().await.expect("it can be pressed");
    browser.says(".log-open .json-string", &"x".repeat(5000)).await;
    browser.write("Text in events", "engaged").await;
    browser.says(".log-tools [role=status]", "1 of").await;
    browser.press("Script log").await;
    browser.says(".line-message", "stock is low").await;
    browser.see(".line-fields").await.click().await.expect("it can be pressed");
    browser.says(".line-message .json", "pot").await;
    browser.view("run-lines").await;
    browser.press("State").await;
    browser.says("section[aria-label='Set by the script']", "items").await;
    browser.says("section[aria-label='Status text']", "packing").await;
    browser.view("run-state").await;

    // The source: the line that waits, and the other file.
    browser.press("Source").await;
    browser.says(".line.is-waiting[data-line='16']", "waits for signal go").await;
    browser.view("run-source").await;
    browser.press("lib/words.rhai").await;
    browser.says(".code .line", "fn twice(x)").await;
    browser.to("#/runs/mix?tab=source&line=7").await;
    browser.see(".line.revealed[data-line='7']").await;

    // The trace, by keys: variables at a moment.
    browser.press("Trace").await;
    browser.says(".trace-where", "calls").await;
    browser.says(".trace-variables th", "sum").await;
    browser.view("run-trace").await;
    browser.script("document.activeElement.blur()", &[]).await;
    browser.keys(key::HOME).await;
    browser
        .holds("return ![...document.querySelectorAll('.trace-variables th')].some((one) => one.textContent === 'sum')")
        .await;
    browser.keys(&[key::RIGHT, key::RIGHT].concat()).await;
    browser.says(".trace-where", "2 of").await;
    browser.holds("return document.querySelector('.trace-slider').value === '2'").await;
    browser.says(".trace-variables th", "big").await;
    browser.keys(key::END).await;
    browser.says(".trace-variables tr", "sum").await;
    browser.write("Expression", "sum * 21").await;
    browser.keys(key::ENTER).await;
    browser.says(".trace-value", "42").await;
    browser.holds("return /tab=trace&n=\\d+/.test(location.hash)").await;
    // A link to a moment; on a phone its tab is in sight.
    browser.screen(Screen::Phone, "light").await;
    browser.to("#/runs/mix?tab=state").await;
    browser.to("#/runs/mix?tab=trace&n=6").await;
    browser
        .holds("return document.querySelector('.tabs [aria-current]').getBoundingClientRect().right <= innerWidth")
        .await;
    browser.screen(Screen::Desktop, "light").await;
    browser.says(".trace-where", "statement 6 of").await;

    // The output goes on while one looks.
    browser.press("Output").await;
    browser.says(".out-row", "mug").await;
    browser.press("notes (1)").await;
    browser.says(".out-row", "line two").await;
    browser.press("default (1)").await;
    site.post("/runs/mix/signal", json!({ "name": "go", "payload": 40 })).await;
    browser.says(".out-row", "said").await;
    browser.view("run-output").await;
    browser.says(".run-values", "42").await;
    assert_eq!(browser.script("return window.same", &[]).await, json!(true));
    // A child knows whose it is, and both are linked.
    browser.holds("return [...document.querySelectorAll('.run-facts .fact-name')].some((one) => one.textContent === 'Children')").await;
    browser.see(".run-facts a[href^='#/runs/mix']").await;
    browser.is_quiet(&[]).await;
}

#[tokio::test]
async fn a_run_of_ten_thousand_events() {
    let list = "let all = [];\nfor i in 0..5000 { all.push(i); }\n";
    let many = format!("{list}foreach(all, |i| use_step(\"t.echo\", i), #{{ concurrency: 200 }}).len()");
    let Some(site) = Site::open(&[("many", &many)]).await else { return };
    let browser = &site.browser;
    site.start("many", "many", json!(null)).await;
    let run = site.is("many", "completed").await;
    let events = run["events"].as_u64().expect("a number");
    assert!(events > 10_000, "{events}");
    site.go("runs/many").await;
    browser.holds("return document.querySelector('.tl-count')?.textContent.startsWith('5,000 calls')").await;
    browser.holds("return !document.querySelector('.tl-count').textContent.includes('loaded')").await;
    browser.view("run-long").await;
    let nodes = browser.count("*").await;
    assert!(nodes < 4000, "{nodes} nodes are in the document");

    // By number, by scrolling to the end, by a filter: every event can be reached.
    browser.to("#/runs/many?tab=log").await;
    browser.says(".log-tools [role=status]", &format!("{},{:03} events", events / 1000, events % 1000)).await;
    browser.write("Go to event number", "7777").await;
    browser.keys(key::ENTER).await;
    browser.says(".log-row .log-seq", "7,777").await;
    browser.says(".log-open", "link to this event").await;
    browser
        .script(
            "const rows = document.querySelector('.log-rows'); rows.focus(); rows.scrollTop = rows.scrollHeight",
            &[],
        )
        .await;
    browser.says(".log-row .log-type", "run_completed").await;
    browser.picture("run-long-log").await;
    browser.write("Text in events", "\"output\":4321").await;
    browser.says(".log-row .log-brief", "4321").await;
    let nodes = browser.count("*").await;
    assert!(nodes < 4000, "{nodes} nodes are in the document");

    // The timeline down to one call.
    let last = site.get(&format!("/runs/many/events?from={}&limit=5", events - 4)).await;
    let step = last["events"]
        .as_array()
        .expect("events")
        .iter()
        .find_map(|event| event["step_id"].as_str())
        .expect("a call")
        .to_owned();
    browser.to(&format!("#/runs/many?step={step}")).await;
    browser.says(".tl-detail", &step).await;
    browser.says(".tl-row.chosen .tl-id, .tl-row.chosen", &step).await;
    // The trace of all of it.
    browser.to("#/runs/many?tab=trace").await;
    browser.says(".trace-where", "5,001 of 5,001 calls").await;
    browser.script("document.activeElement.blur()", &[]).await;
    browser.keys(key::HOME).await;
    browser.says(".trace-where", "0 of 5,001 calls").await;
    browser.says(".trace-stack", "before its first statement").await;
    browser.picture("run-long-trace").await;
    let nodes = browser.count("*").await;
    assert!(nodes < 5000, "{nodes} nodes are in the document");
    browser.is_quiet(&[]).await;
}
