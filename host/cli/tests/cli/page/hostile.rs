//! Whatever a script, an input or a name holds is text on the page: nothing of it is run, and the layout holds.

use serde_json::json;

use super::browser::Screen;
use super::site::Site;

/// Markup, a link that would run, letters for terminals, a turned direction, and an end of a script.
const NASTY: &str = "<img src=x onerror=\"window.hit=1\"><script>window.hit=2</script>javascript:window.hit=3 \u{1b}[31mred\u{1b}[0m \u{202e}txet\u{2066} ${window.hit=4} {{7*7}} </textarea></title>";

const SCRIPT: &str = r#"//! <img src=x onerror="window.hit=5"> [a link](javascript:window.hit=6) `<b>` <script>window.hit=7</script>
//!
//! - <svg onload="window.hit=8">
const WORKFLOW = #{ input: #{ type: "object", title: "<img src=x onerror=window.hit=9>", properties: #{
    nasty: #{ type: "string", title: "<img src=x onerror=window.hit=10>", description: "<script>window.hit=11</script>" },
} } };
let nasty = input.nasty;
print(nasty);
log("error", nasty, #{ nasty: nasty });
set_status(nasty);
set_state(nasty, nasty);
emit(nasty);
emit("<img src=x onerror=window.hit=12>", #{ nasty: nasty });
let long = use_step("p.long", 100000, #{ label: nasty });
print(long.text);
set_state("long", long.text);
try { use_step("t.burn", nasty, #{ label: "<img src=x onerror=window.hit=13>" }); } catch (e) { print(e.message); }
let answer = suspend(#{ nasty: nasty, long: long.text }, #{ label: nasty, schema: #{ type: "object", title: nasty, properties: #{ a: #{ type: "string", title: nasty, description: nasty } } } });
throw `${nasty} ${long.text}`;"#;

#[tokio::test]
// Over 80 lines: one walk through the page, each step from where the one before has led.
async fn whatever_a_run_holds_is_text() {
    let name = "<img src=x onerror=hit>";
    let Some(site) = Site::open(&[(name, SCRIPT), ("javascript:alert(1)", "1")]).await else { return };
    let browser = &site.browser;
    let tags = json!({ "nasty": NASTY, "<b>": "<i>" });
    let body = json!({ "workflow": name, "id": "javascript:alert", "input": { "nasty": NASTY, "<img src=x onerror=window.hit=14>": NASTY }, "tags": tags });
    site.post("/runs", body).await;
    site.is("javascript:alert", "suspended").await;
    let run = "#/runs/javascript%3Aalert";
    let flow = "#/workflows/%3Cimg%20src%3Dx%20onerror%3Dhit%3E";
    site.go("runs").await;
    let places = [
        ("#/runs", ".run-row .news"),
        ("#/workflows", ".flow"),
        (flow, ".recent .run-row"),
        (&format!("{flow}?tab=source"), ".code .line"),
        (&format!("{flow}?tab=versions"), "tbody td"),
        (run, ".question"),
        (&format!("{run}?step=1"), ".tl-detail"),
        (&format!("{run}?tab=log&seq=3"), ".log-open"),
        (&format!("{run}?tab=lines"), ".line-row"),
        (&format!("{run}?tab=output"), ".out-row"),
        (&format!("{run}?tab=state"), ".run-state"),
        (&format!("{run}?tab=source"), ".code .line"),
        (&format!("{run}?tab=trace"), ".trace-variables th"),
        ("#/health", ".health .card"),
        ("#/runs/%3Cimg%20src=x%20onerror=window.hit=15%3E", ".empty"),
        ("#/nowhere/<img src=x onerror=window.hit=16>", "main"),
    ];
    for (at, (place, seen)) in places.iter().enumerate() {
        browser.to(place).await;
        // A panel below a long question draws its rows when they are scrolled to.
        browser
            .holds(&format!(
                "document.querySelector('.run-panel')?.scrollIntoView(); return !!document.querySelector({seen:?})"
            ))
            .await;
        browser.see(seen).await;
        browser.settled().await;
        harmless(&site, place).await;
        browser.picture(&format!("hostile-{at:02}")).await;
        browser.screen(Screen::Phone, "dark").await;
        browser.settled().await;
        harmless(&site, place).await;
        browser.picture(&format!("hostile-{at:02}-phone")).await;
        browser.screen(Screen::Desktop, "light").await;
    }
    // The text is there as it is.
    browser.to("#/runs").await;
    browser.says(".news", "<script>window.hit=2</script>javascript:window.hit=3").await;
    browser.to(&format!("{run}?tab=lines")).await;
    browser
        .holds(
            "document.querySelector('.run-panel')?.scrollIntoView(); return !!document.querySelector('.line-message')",
        )
        .await;
    browser.says(".line-message", "<img src=x onerror=\"window.hit=1\">").await;
    // Dialogs and answers too.
    browser.to(run).await;
    browser.see(".question").await;
    for (key, title) in [("s", "Send a signal"), ("c", "Cancel the run"), ("m", ""), ("f", "Fork the run"), ("n", "")] {
        browser.script("document.activeElement.blur()", &[]).await;
        browser.keys(key).await;
        if !title.is_empty() {
            browser.dialog(title).await;
            harmless(&site, title).await;
            browser.press(if key == "c" { "Back" } else { "Cancel" }).await;
        }
        browser.closed().await;
    }
    site.post("/runs/javascript:alert/resume", json!({ "label": NASTY, "data": { "a": NASTY } })).await;
    browser.see(".failure").await;
    // What is very long is shown whole to whom asks for it.
    browser.holds("return document.querySelector('.failure').textContent.length < 10_000").await;
    // Letters that are turned stay within what is turned.
    browser.holds("return ![...document.querySelectorAll('body *')].some((one) => !one.children.length && /^[^\\u2066-\\u2068]*\\u202e[^\\u2069]*\\u2066/.test(one.textContent))").await;
    harmless(&site, "the failure").await;
    browser.picture("hostile-failed").await;
    browser.to(&format!("#/workflows/{}", "javascript%3Aalert(1)")).await;
    browser.reads("Recent runs").await;
    harmless(&site, "a name").await;
    browser.is_quiet(&["404", "400"]).await;
}

/// Nothing was run, nothing became markup, nothing leads anywhere else, and the page is as wide as the screen.
async fn harmless(site: &Site, place: &str) {
    let script = "const links = [...document.querySelectorAll('[href], [src], [action]')].map((one) => one.getAttribute('href') ?? one.getAttribute('src') ?? one.getAttribute('action'));
        return { hit: window.hit ?? null, made: document.querySelectorAll('main img, main script, main iframe, dialog img, dialog script, main [onerror], main [onload]').length,
            links: links.filter((one) => !/^(#|page\\/)/.test(one)),
            wide: document.documentElement.scrollWidth - document.documentElement.clientWidth };";
    let found = site.browser.script(script, &[]).await;
    assert_eq!(found["hit"], json!(null), "{place}");
    assert_eq!(found["made"], json!(0), "{place}");
    assert_eq!(found["links"], json!([]), "{place}");
    assert!(found["wide"].as_i64() <= Some(1), "{place}: {found}");
}
