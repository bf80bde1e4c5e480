//! What can be done to a run from its page.

use serde_json::json;

use super::site::Site;
use super::webdriver::key;

const SCRIPTS: [(&str, &str); 4] = [
    (
        "approval",
        r#"//! Asks two things.
let first = wait_for("go", #{ timeout: "3 days" });
let answer = suspend(#{ question: "Ship it?", order: #{ id: 17, items: ["mug", "piano"] } }, #{ label: "ship", schema: #{
    type: "object", required: ["ok"], properties: #{
        ok: #{ type: "boolean", title: "Is it all right?" },
        note: #{ type: "string", title: "Note", "not": #{ "const": "perhaps" } },
    } } });
#{ first: first, answer: answer }"#,
    ),
    (
        "tidy",
        "try { use_step(\"t.echo\", 1); wait_for(\"never\"); } catch (e) { use_step(\"t.echo\", \"swept\", #{ label: \"clean up\" }); throw e; }",
    ),
    (
        "sum",
        "let a = use_step(\"t.echo\", 1);\nlet b = use_step(\"t.echo\", a + 1);\nwait_for(\"go\");\n`sum ${a + b}`",
    ),
    ("fixable", "let a = use_step(\"t.echo\", 1);\nuse_step(\"file.read\", input);\n\"read\""),
];

#[tokio::test]
async fn what_a_run_waits_for_is_given_on_its_page() {
    let Some(site) = Site::open(&SCRIPTS).await else { return };
    let browser = &site.browser;
    site.start("approval", "a", json!(null)).await;
    site.go("runs/a").await;
    browser.reads("waits for signal go").await;
    browser.script("window.same = true", &[]).await;
    // The name is there already.
    browser.press("Signal").await;
    browser.dialog("Send a signal").await;
    let name = browser.field("Name").await.prop("value").await.expect("an answer");
    assert_eq!(name.as_deref(), Some("go"));
    browser.write("Payload (JSON)", "{ \"by\": ").await;
    browser.press("Send").await;
    browser.says("dialog .wrong", "This is no JSON").await;
    browser.write("Payload (JSON)", "{ \"by\": \"ann\" }").await;
    browser.view("dialog-signal").await;
    browser.press("Send").await;
    browser.closed().await;

    // The question comes by itself, with its form; a wrong answer is marked where it is wrong.
    browser.reads("It asks: ship").await;
    browser.reads("Ship it?").await;
    browser.see(".run-status .status.suspended").await;
    browser.write("Note", "perhaps").await;
    browser.view("run-asks").await;
    browser.see(".question button[type=submit]").await.click().await.expect("it can be pressed");
    browser.see(".question [aria-invalid=true]").await;
    browser.says(".question .wrong", "not").await;

    // The same question as a dialog, by its key.
    browser.script("document.activeElement.blur()", &[]).await;
    browser.keys("a").await;
    browser.dialog("Answer “ship”").await;
    browser.reads("What it asks").await;
    browser.view("dialog-answer").await;
    browser.field("Is it all right?").await.click().await.expect("it can be ticked");
    browser.write("Note", "with care").await;
    browser.press("Answer").await;
    browser.closed().await;
    browser.see(".run-status .status.completed").await;
    browser.reads("with care").await;
    let run = site.is("a", "completed").await;
    assert_eq!(run["output"], json!({ "first": { "by": "ann" }, "answer": { "ok": true, "note": "with care" } }));
    assert_eq!(browser.script("return window.same", &[]).await, json!(true));
    browser.is_quiet(&["400"]).await;
}

#[tokio::test]
async fn runs_are_ended_tried_again_exported_and_deleted() {
    let Some(site) = Site::open(&SCRIPTS).await else { return };
    let browser = &site.browser;
    site.start("tidy", "tidy", json!(null)).await;
    site.is("tidy", "waiting").await;
    site.go("runs/tidy").await;
    browser.press("Cancel").await;
    browser.dialog("Cancel the run").await;
    browser.write("Reason", "nobody wants it").await;
    browser.view("dialog-cancel").await;
    browser.press("Cancel the run").await;
    browser.closed().await;
    browser.see(".run-status .status.cancelled").await;
    browser.reads("Cancelled: nobody wants it").await;
    browser.says(".tl-row .tl-name", "clean up").await;
    browser.view("run-cancelled").await;

    // Terminated, nothing is tidied.
    site.start("tidy", "hard", json!(null)).await;
    site.is("hard", "waiting").await;
    site.go("runs/hard").await;
    browser.press("Terminate").await;
    browser.dialog("Terminate the run").await;
    browser.press("Terminate").await;
    browser.closed().await;
    browser.see(".run-status .status.failed").await;
    browser.holds("return document.querySelectorAll('.tl-row .bar.attempt').length === 1").await;

    // What was missing is provided, then the step that failed is made once more.
    site.start("fixable", "f", json!({ "path": "late.txt" })).await;
    site.is("f", "failed").await;
    site.go("runs/f").await;
    browser.reads("late.txt").await;
    browser.view("run-failed").await;
    std::fs::write(site.folder.path().join("late.txt"), "here").expect("a file");
    browser.press("Try again").await;
    browser.dialog("Try the run again").await;
    browser.press("Try again").await;
    browser.holds("return /^#\\/runs\\/(?!f$)/.test(location.hash)").await;
    browser.see(".run-status .status.completed").await;
    browser.reads("Tries again").await;

    // A file of it, as a person would have it.
    let saved = tempfile::tempdir().expect("a folder");
    let to = json!({ "behavior": "allow", "downloadPath": saved.path() });
    browser.driver.devtools("Browser.setDownloadBehavior", to).await.expect("a folder for files");
    site.go("runs/f").await;
    browser.press("Export").await;
    browser.dialog("Export the run").await;
    browser.view("dialog-export").await;
    browser.press("Save the file").await;
    browser.closed().await;
    let file = saved.path().join("f.durhai");
    browser.waits("the file", async || std::fs::read(&file).is_ok_and(|bytes| bytes.len() > 100)).await;

    browser.press("Delete").await;
    browser.dialog("Delete the run").await;
    browser.view("dialog-delete").await;
    browser.press("Delete").await;
    browser.holds("return location.hash === '#/runs'").await;
    browser.reads("Run f deleted").await;
    browser
        .holds("return ![...document.querySelectorAll('.run-row .r-id')].some((one) => one.textContent === 'f')")
        .await;
    site.go("runs/f").await;
    browser.reads("There is no run f").await;
    browser.picture("run-gone").await;
    // What was exported is whole.
    let path = file.display().to_string();
    let replayed = site.folder.durhai(&["replay", &path]).is(0);
    assert!(replayed.stdout.contains("cannot read late.txt"), "{replayed:?}");
    browser.is_quiet(&["404"]).await;
}

#[tokio::test]
// Over 80 lines: one walk through the page, each step from where the one before has led.
async fn a_run_is_forked_moved_and_unparked() {
    let Some(site) = Site::open(&SCRIPTS).await else { return };
    let browser = &site.browser;
    site.start("sum", "s", json!(null)).await;
    site.is("s", "waiting").await;
    site.go("runs/s?step=2").await;
    browser.reads("Fork from here …").await;
    browser.view("run-step").await;

    // Another result of the second step.
    browser.press("Fork from here …").await;
    browser.dialog("Fork the run").await;
    browser.see("dialog .editor-text").await;
    browser.field("After it").await.click().await.expect("it can be chosen");
    browser.holds("return document.getElementById('fork-result')?.value === '2'").await;
    browser.write("Result of 2", "40").await;
    browser.press("Check").await;
    browser.reads("It fits").await;
    browser.view("dialog-fork").await;
    browser.press("Fork").await;
    browser.holds("return /^#\\/runs\\/(?!s\\?)/.test(location.hash)").await;
    browser.reads("waits for signal go").await;
    browser.press("Send go …").await;
    browser.dialog("Send a signal").await;
    browser.press("Send").await;
    browser.see(".run-status .status.completed").await;
    browser.says(".run-values", "sum 41").await;

    // Another text: first one that does not compile, then one that does.
    site.go("runs/s").await;
    browser.reads("waits for signal go").await;
    browser.press("Fork").await;
    browser.dialog("Fork the run").await;
    browser.see("dialog .editor-text").await;
    browser.see("dialog .fork-step input[value='2']").await.click().await.expect("it can be chosen");
    let broken = "let a = use_step(\"t.echo\", 1);\nlet b = use_step(\"t.echo\", a + 1);\nlet = 3;";
    write_script(&site, broken).await;
    browser.press("Check").await;
    browser.see("dialog .notice.bad").await;
    browser.see("dialog .editor-line.is-error").await;
    browser.picture("dialog-fork-broken").await;
    write_script(
        &site,
        "let a = use_step(\"t.echo\", 1);\nlet b = use_step(\"t.echo\", a + 1);\n`edited ${a * 100 + b}`",
    )
    .await;
    browser.press("Check").await;
    browser.reads("It fits").await;
    browser.press("Fork").await;
    browser.says(".run-values", "edited 102").await;

    // A version that does not fit, then one that does: nothing moves before it was looked at.
    site.folder.script(
        "sum",
        "let a = use_step(\"t.echo\", 7);\nlet b = use_step(\"t.echo\", a + 1);\nwait_for(\"go\");\n`sum ${a + b}`",
    );
    site.reloaded("sum").await;
    site.go("runs/s").await;
    browser.reads("waits for signal go").await;
    browser.press("Migrate").await;
    browser.dialog("Migrate the run").await;
    browser.press("Look what would come of it").await;
    browser.see("dialog .notice.bad .sides").await;
    browser.reads("Recorded").await;
    browser.view("dialog-migrate-diverges").await;
    browser.press("Cancel").await;
    browser.closed().await;
    site.folder.script("sum", "let a = use_step(\"t.echo\", 1);\nlet b = use_step(\"t.echo\", a + 1);\nwait_for(\"go\");\n`better sum ${a + b}`");
    site.reloaded("sum").await;
    let before = site.get("/runs/s").await["version"].clone();
    browser.press("Migrate").await;
    browser.dialog("Migrate the run").await;
    browser.press("Look what would come of it").await;
    browser.reads("The whole log fits.").await;
    assert_eq!(site.get("/runs/s").await["version"], before, "it was only looked at");
    browser.picture("dialog-migrate-fits").await;
    browser.press("Move the run").await;
    browser.closed().await;
    assert_ne!(site.get("/runs/s").await["version"], before);
    browser.script("document.activeElement.blur()", &[]).await;
    browser.keys("s").await;
    browser.dialog("Send a signal").await;
    browser.keys(key::ENTER).await;
    browser.says(".run-values", "better sum 3").await;
    browser.is_quiet(&["422"]).await;
}

/// Another text in the editor, as if it was typed.
async fn write_script(site: &Site, text: &str) {
    let script = "const area = document.querySelector('dialog .editor-text'); area.focus(); area.select(); document.execCommand('insertText', false, arguments[0])";
    site.browser.script(script, &[json!(text)]).await;
}
