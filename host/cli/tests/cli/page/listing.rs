//! The list of runs: filtered by its address, live, long, and by keys alone.

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::browser::Screen;
use super::site::Site;
use super::webdriver::key;

#[tokio::test]
// Over 80 lines: one walk through the page, each step from where the one before has led.
async fn a_long_list_is_filtered_paged_and_worked_on() {
    let Some(site) = Site::open(&[]).await else { return };
    let browser = &site.browser;
    // Nothing yet, and what to do about it.
    site.go("runs").await;
    browser.reads("No run yet").await;
    browser.view("runs-empty").await;

    // Most of them begin tomorrow, so that nothing else happens.
    let later = |n: usize| {
        let odd = if n.is_multiple_of(2) { "even" } else { "odd" };
        let body = json!({ "workflow": "gate", "id": format!("later-{n:04}"), "delay": "1 day", "tags": { "kind": odd, "n": n.to_string() } });
        site.post("/runs", body)
    };
    stream::iter(0..3000).map(later).buffer_unordered(16).collect::<Vec<_>>().await;
    site.start("fails", "bad", json!(null)).await;
    site.start("gate", "open", json!(null)).await;
    site.is("bad", "failed").await;
    browser.script("window.same = true", &[]).await;
    browser.says(".run-row .r-id", "open").await;

    // Changes are seen without loading again.
    browser.says(".run-row .r-news", "signal go").await;
    site.post("/runs/open/signal", json!({ "name": "go", "payload": 1 })).await;
    browser.says(".run-row .r-news", "went 1").await;
    browser.reads("3,002").await;
    browser.view("runs-many").await;

    // However far one scrolls, the document holds what is seen.
    browser
        .holds(
            "scrollTo(0, document.documentElement.scrollHeight);
             return [...document.querySelectorAll('.run-row')].at(-1)?.getAttribute('aria-rowindex') === '3003'",
        )
        .await;
    browser.reads("That is all.").await;
    browser
        .holds("return [...document.querySelectorAll('.run-row .r-id')].at(-1)?.textContent.startsWith('later-')")
        .await;
    browser.holds("return document.querySelector('.run-table').getAttribute('aria-rowcount') === '3003'").await;
    let rows = browser.count(".run-row").await;
    assert!(rows < 100, "{rows} rows are in the document");
    browser.picture("runs-end").await;
    browser.script("scrollTo(0, 0)", &[]).await;

    // Filters are in the address, and go back with it.
    browser.see(".chip .status.failed").await.click().await.expect("it can be pressed");
    browser.holds("return location.hash === '#/runs?status=failed'").await;
    browser.holds("return document.querySelectorAll('[role=rowgroup] .r-id a').length === 1").await;
    browser.reads("no_such_function").await;
    browser.view("runs-filtered").await;
    browser.driver.back().await.expect("it goes back");
    browser.holds("return document.querySelectorAll('[role=rowgroup] .r-id a').length > 10").await;
    browser.to("#/runs?tag=kind:odd&tag=n:17").await;
    browser.holds("return document.querySelectorAll('[role=rowgroup] .r-id a').length === 1").await;
    browser.says(".r-id", "later-0017").await;
    browser.press("Remove the filter n:17").await;
    browser.holds("return location.hash === '#/runs?tag=kind%3Aodd'").await;
    browser.holds("return document.querySelectorAll('[role=rowgroup] .r-id a').length > 10").await;
    browser.write("Tag, as key:value", "nonsense").await;
    browser.keys(key::ENTER).await;
    browser.reads("Write a tag as key:value").await;
    browser.to("#/runs?status=completed&workflow=fails").await;
    browser.reads("No run fits these filters").await;
    browser.picture("runs-none-fits").await;
    browser.press("Clear the filters").await;
    browser.holds("return document.querySelectorAll('[role=rowgroup] .r-id a').length > 10").await;

    // By keys alone: down, up, select, open, back.
    browser.script("document.activeElement.blur(); scrollTo(0, 0)", &[]).await;
    browser.settled().await;
    browser.keys("jj").await;
    browser.holds("return document.activeElement.getAttribute('aria-rowindex') === '3'").await;
    browser.keys("k").await;
    browser.holds("return document.activeElement.getAttribute('aria-rowindex') === '2'").await;
    browser.keys(&[key::DOWN, key::DOWN].concat()).await;
    browser.keys("xjx").await;
    browser.reads("2 selected").await;
    browser.view("runs-selected").await;
    browser.holds("return document.activeElement.getAttribute('aria-rowindex') === '5' || document.activeElement === document.body").await;
    browser.press("Cancel 2").await;
    browser.dialog("Cancel 2 runs").await;
    browser.write("Reason", "not wanted").await;
    browser.view("dialog-bulk").await;
    browser.press("Cancel 2 runs").await;
    browser.closed().await;
    browser.reads("2 runs told to stop").await;
    browser.holds("return document.querySelectorAll('.run-row .status.cancelled').length === 2").await;
    browser.keys("k").await;
    browser.keys(key::ENTER).await;
    browser.holds("return /^#\\/runs\\/./.test(location.hash)").await;
    browser.driver.back().await.expect("it goes back");
    browser.says(".run-row .r-id", "later-").await;

    // On a phone the same rows are cards.
    browser.screen(Screen::Phone, "light").await;
    browser.holds("return document.querySelectorAll('.run-row .r-id a').length > 3").await;
    assert_eq!(browser.script("return window.same", &[]).await, json!(true));
    browser.is_quiet(&[]).await;
}
