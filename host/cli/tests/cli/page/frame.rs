//! The frame of the page: the login, the keys, the host that goes away and comes back.

use super::browser::Browser;
use super::webdriver::key;
use crate::folder::Folder;

#[tokio::test]
async fn a_token_is_asked_for_and_kept_for_the_tab() {
    let Some(browser) = Browser::open().await else { return };
    let folder = Folder::new();
    std::fs::write(folder.path().join("token"), "a-token-of-some-length\n").expect("a file");
    let (_host, first) = folder.serve(&["--token-file", "token"]);
    browser.go(first["address"].as_str().expect("an address")).await;
    browser.reads("This host wants a token").await;
    browser.is_accessible("the login").await;
    browser.picture("login").await;
    browser.write("Token", "a guess").await;
    browser.keys(key::ENTER).await;
    browser.reads("That is not the token of this host.").await;
    browser.write("Token", "a-token-of-some-length").await;
    browser.press("Log in").await;
    browser.holds("return !document.querySelector('dialog[open]') && location.hash === '' && !!document.querySelector('main h1')").await;
    browser.driver.refresh().await.expect("it loads again");
    browser.to("#/workflows").await;
    browser.reads("Gives back what it gets.").await;
    // A token is no part of any address or of the document.
    let kept = browser
        .script("return location.href + document.documentElement.outerHTML + JSON.stringify(localStorage)", &[])
        .await;
    assert!(!kept.to_string().contains("a-token-of-some-length"));
    browser.is_quiet(&["401"]).await;
}

#[tokio::test]
async fn the_page_goes_on_when_the_host_comes_back() {
    let Some(browser) = Browser::open().await else { return };
    let folder = Folder::new();
    let (mut host, first) = folder.serve(&[]);
    let address = first["address"].as_str().expect("an address").to_owned();
    browser.go(&format!("{address}/#/runs")).await;
    folder.durhai(&["start", "gate", "--id", "before"]).is(0);
    browser.reads("before").await;
    for n in 0..10 {
        folder.durhai(&["start", "nap", "--id", &format!("nap-{n}")]).is(0);
    }
    browser.reads("nap-9").await;
    host.child.kill().expect("it is killed");
    host.child.wait().expect("it ends");
    browser.reads("The host does not answer").await;
    browser.picture("host-away").await;
    let port = address.rsplit_once(':').expect("a port").1;
    let (mut host, _) = folder.serve(&["--listen", &format!("127.0.0.1:{port}")]);
    browser.holds("return document.getElementById('connection').textContent === ''").await;
    folder.durhai(&["start", "gate", "--id", "after"]).is(0);
    browser.reads("after").await;
    folder.durhai(&["signal", "before", "go", "1"]).is(0);
    browser.reads("completed").await;

    // A host with another store at the same address: what is shown is what it has.
    host.child.kill().expect("it is killed");
    host.child.wait().expect("it ends");
    let (_other, _) = folder.serve(&["--data", "other", "--listen", &format!("127.0.0.1:{port}")]);
    folder.durhai(&["start", "gate", "--id", "elsewhere", "--data", "other"]).is(0);
    browser.reads("elsewhere").await;
    browser.holds("return document.querySelectorAll('.run-table .r-id a').length === 1").await;
}

#[tokio::test]
async fn every_view_can_be_reached_by_keys_and_fits_a_phone() {
    let Some(browser) = Browser::open().await else { return };
    let folder = Folder::new();
    let (_host, first) = folder.serve(&[]);
    folder.durhai(&["start", "echo", "--id", "done", "--wait"]).is(0);
    folder.durhai(&["start", "fails", "--id", "bad", "--wait"]).is(1);
    folder.durhai(&["start", "gate", "--id", "open"]).is(0);
    browser.go(first["address"].as_str().expect("an address")).await;
    for (keys, hash, name) in [
        ("gw", "#/workflows", "workflows"),
        ("gs", "#/schedules", "schedules"),
        ("gh", "#/health", "health"),
        ("gr", "#/runs", "runs"),
    ] {
        browser.keys(keys).await;
        browser.holds(&format!("return location.hash === {hash:?} && !!document.querySelector('main h1')")).await;
        browser.view(name).await;
    }
    browser.keys("?").await;
    browser.see("dialog[open] table").await;
    browser.keys(key::ESCAPE).await;
    browser.keys("/").await;
    browser.field("Run id or workflow").await.send_keys("open").await.expect("it takes text");
    browser.reads("run of gate, waiting").await;
    browser.keys(key::ENTER).await;
    browser.holds("return location.hash === '#/runs/open'").await;
    // Each letter in the box is tried as an id.
    browser.is_quiet(&["404"]).await;
}
