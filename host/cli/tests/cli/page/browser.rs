//! A headless Chromium, driven as a person would: by what is seen and by keys.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::webdriver::{ConsoleLine, Element, Session};

/// How long something may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Debian's names; without a network Chromium must not look for its makers.
const ARGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-GB",
    "--force-color-profile=srgb",
];

/// While a dialog is open, only what is in it can be reached.
const TOP: &str = "[not(//dialog[@open]) or ancestor::dialog[@open]]";

/// Ended when dropped, with the driver that holds it.
pub struct Browser {
    pub driver: Session,
    _process: Driver,
    _profile: TempDir,
}

/// The process that drives Chromium, and what it calls the browser.
struct Driver {
    process: Child,
    port: u16,
    session: Option<String>,
}

/// What a page may look like.
#[derive(Debug, Clone, Copy)]
pub enum Screen {
    Desktop,
    Phone,
}

impl Browser {
    /// `None`, and a line that says so, where there is no Chromium with its driver.
    pub async fn open() -> Option<Browser> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = match command.spawn() {
            Ok(process) => process,
            Err(error) => {
                println!("skipped: there is no chromedriver here: {error}; `cargo xtask install` brings it");
                return None;
            }
        };
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            // The line before says which port it was asked for.
            line.trim_end_matches('.').rsplit_once("started successfully on port ")?.1.parse::<u16>().ok()
        });
        // It must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("chromedriver says its port");
        let profile = tempfile::tempdir().expect("a folder");
        let mut args: Vec<String> = ARGS.map(String::from).into();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let mut process = Driver { process, port, session: None };
        let driver = Session::start(&format!("http://127.0.0.1:{port}"), &args).await;
        // There is a driver, so there is a browser: a test that does not look at the page does not pass.
        let driver =
            driver.unwrap_or_else(|error| panic!("Chromium does not start: {error}, {:?}", process.process.try_wait()));
        process.session = Some(driver.id.clone());
        let browser = Browser { driver, _process: process, _profile: profile };
        browser.screen(Screen::Desktop, "light").await;
        Some(browser)
    }

    /// A size, and the colours that the system asks for (`light`, `dark`).
    pub async fn screen(&self, screen: Screen, colours: &str) {
        let (width, height, phone) = match screen {
            Screen::Desktop => (1440, 900, false),
            Screen::Phone => (390, 844, true),
        };
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.driver.devtools("Emulation.setDeviceMetricsOverride", size).await.expect("a size");
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": colours },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.driver.devtools("Emulation.setEmulatedMedia", media).await.expect("colours");
    }

    pub async fn go(&self, url: &str) {
        self.driver.goto(url).await.expect("the page is there");
    }

    /// Goes to a place of the page that is shown: `#/runs?status=failed`.
    pub async fn to(&self, hash: &str) {
        self.script("location.hash = arguments[0]", &[json!(hash)]).await;
    }

    /// The first of these that is seen, waited for.
    #[track_caller]
    pub fn see(&self, css: &str) -> impl Future<Output = Element> + '_ {
        self.find(("css selector", css.to_owned()), format!("{css:?}"))
    }

    /// Waits until a dialog with this heading is open.
    #[track_caller]
    pub fn dialog(&self, title: &str) -> impl Future<Output = Element> + '_ {
        let path = format!("//dialog[@open][.//h2[normalize-space(.)={title:?}]]");
        self.find(("xpath", path), format!("a dialog {title:?}"))
    }

    /// Waits until no dialog is open.
    #[track_caller]
    pub fn closed(&self) -> impl Future<Output = ()> + '_ {
        self.holds("return !document.querySelector('dialog[open]')")
    }

    /// How many of these are in the document.
    pub async fn count(&self, css: &str) -> u64 {
        let found = self.script("return document.querySelectorAll(arguments[0]).length", &[json!(css)]).await;
        found.as_u64().expect("a number")
    }

    /// Something that can be pressed, by the name it has for a screen reader: its label, or its text.
    #[track_caller]
    pub fn named(&self, name: &str) -> impl Future<Output = Element> + '_ {
        let path = format!(
            "//*[self::button or self::a or self::summary or @role='button' or @role='tab' or @role='option'][normalize-space(.)={name:?} or \
             @aria-label={name:?}]{TOP}"
        );
        self.find(("xpath", path), format!("something to press with the name {name:?}"))
    }

    /// A field, by its label.
    #[track_caller]
    pub fn field(&self, label: &str) -> impl Future<Output = Element> + '_ {
        let path = format!(
            "//*[self::input or self::textarea or self::select][@id=//label[starts-with(normalize-space(.), {label:?})]/@for or \
             @aria-label={label:?} or ancestor::label[starts-with(normalize-space(.), {label:?})]]{TOP}"
        );
        self.find(("xpath", path), format!("a field with the label {label:?}"))
    }

    /// Waits until this text is somewhere on the page.
    #[track_caller]
    pub fn reads(&self, text: &str) -> impl Future<Output = ()> + '_ {
        let what = format!("the text {text:?}");
        let text = text.to_owned();
        let place = std::panic::Location::caller();
        async move {
            let script = "return document.body.innerText.includes(arguments[0])";
            self.until(place, &what, async || self.script(script, &[json!(text)]).await == json!(true)).await;
        }
    }

    /// Waits until what these are read has this text; the text as it is in the document, whether or not it is in sight.
    #[track_caller]
    pub fn says(&self, css: &str, text: &str) -> impl Future<Output = ()> + '_ {
        let what = format!("{text:?} in {css:?}");
        let args = [json!(css), json!(text)];
        let place = std::panic::Location::caller();
        async move {
            let script = "return [...document.querySelectorAll(arguments[0])].some((one) => one.textContent.includes(arguments[1]))";
            self.until(place, &what, async || self.script(script, &args).await == json!(true)).await;
        }
    }

    /// Waits until a script gives true.
    #[track_caller]
    pub fn holds(&self, script: &str) -> impl Future<Output = ()> + '_ {
        let script = script.to_owned();
        let place = std::panic::Location::caller();
        async move {
            self.until(place, &script, async || self.script(&script, &[]).await == json!(true)).await;
        }
    }

    /// Presses what has this name.
    #[track_caller]
    pub fn press(&self, name: &str) -> impl Future<Output = ()> + '_ {
        let (wanted, again) = (self.named(name), self.named(name));
        let name = name.to_owned();
        async move {
            let node = wanted.await;
            if node.click().await.is_err() {
                // It may lie below the foot of a dialog, which stays in sight, or was drawn anew.
                let _ = node.scroll_into_view().await;
                if let Err(error) = again.await.click().await {
                    panic!("{name:?} cannot be pressed: {error}; on the page:\n{}", self.text().await);
                }
            }
        }
    }

    /// Puts a text into a field, in place of what is there.
    #[track_caller]
    pub fn write(&self, label: &str, text: &str) -> impl Future<Output = ()> + '_ {
        let field = self.field(label);
        let text = text.to_owned();
        async move {
            let field = field.await;
            field.clear().await.expect("it can be emptied");
            field.send_keys(&text).await.expect("it takes text");
        }
    }

    /// Chooses from a list, by what it shows.
    #[track_caller]
    pub fn choose(&self, label: &str, shown: &str) -> impl Future<Output = ()> + '_ {
        let field = self.field(label);
        let shown = shown.to_owned();
        async move {
            field.await.choose(&shown).await.unwrap_or_else(|error| panic!("{shown:?} is no choice: {error}"));
        }
    }

    /// Keys, wherever the focus is.
    pub async fn keys(&self, keys: &str) {
        self.driver.keys(keys).await.expect("keys");
    }

    pub async fn script(&self, script: &str, args: &[Value]) -> Value {
        self.driver.execute(script, args).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// All text of the page.
    pub async fn text(&self) -> String {
        self.script("return document.body.innerText", &[]).await.as_str().unwrap_or_default().to_owned()
    }

    /// A picture of what is seen, in `target/screenshots`.
    pub async fn picture(&self, name: &str) {
        let folder = target().join("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let picture = self.driver.screenshot().await.expect("a picture");
        let bytes = STANDARD.decode(picture).expect("base64");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a file");
    }

    /// A view as it is now: on a desktop, light and dark, and on a phone. Each is looked at by axe and leaves a picture.
    pub async fn view(&self, name: &str) {
        for (screen, colours) in [(Screen::Phone, "dark"), (Screen::Desktop, "dark"), (Screen::Desktop, "light")] {
            self.screen(screen, colours).await;
            // Lists of rows of another height are made anew in the next frame.
            self.settled().await;
            self.picture(&format!("{name}-{screen:?}-{colours}").to_lowercase()).await;
            self.is_accessible(&format!("{name}, {screen:?}, {colours}")).await;
        }
    }

    /// Nothing is being loaded, and what was laid out anew is drawn.
    pub async fn settled(&self) {
        self.holds("return ![...document.querySelectorAll('main .busy')].some((one) => one.checkVisibility() && /^Loading( the .*)? …$/.test(one.textContent))").await;
        let script =
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))";
        self.driver.execute_async(script).await.expect("frames come");
    }

    /// Nothing that the page's policy forbids was tried, and no script of it failed. `but`: requests that were meant to
    /// be refused.
    pub async fn is_quiet(&self, but: &[&str]) {
        let log = self.driver.console().await.expect("a log");
        let loud =
            |entry: &&ConsoleLine| entry.level == "SEVERE" && !but.iter().any(|part| entry.message.contains(part));
        let wrong: Vec<_> = log.iter().filter(loud).map(|entry| &entry.message).collect();
        assert!(wrong.is_empty(), "the console says {wrong:#?}");
    }

    /// No finding of axe that is serious or worse, and no scrolling to the side. `None` of it where axe was not installed.
    pub async fn is_accessible(&self, place: &str) {
        let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        let wide = self.script(wide, &[]).await;
        assert!(wide.as_i64() <= Some(1), "{place}: the page is {wide} px too wide");
        let Some(axe) = axe() else {
            println!("skipped: there is no axe in target/tools; `cargo xtask install` brings it");
            return;
        };
        if self.script("return !window.axe", &[]).await == json!(true) {
            let text = std::fs::read_to_string(&axe).expect("axe can be read");
            self.driver.execute(&text, &[]).await.expect("axe is loaded");
        }
        let script = "const done = arguments[0]; axe.run({ resultTypes: ['violations'] }).then(done, (error) => done({ error: String(error) }))";
        let found = self.driver.execute_async(script).await.expect("axe runs");
        let findings = found["violations"].as_array().unwrap_or_else(|| panic!("{place}: {found}"));
        let serious: Vec<String> = findings
            .iter()
            .filter(|one| matches!(one["impact"].as_str(), Some("serious" | "critical")))
            .map(|one| {
                let nodes: Vec<_> =
                    one["nodes"].as_array().into_iter().flatten().take(3).map(|node| &node["html"]).collect();
                format!("{}: {} {nodes:?}", one["id"], one["help"])
            })
            .collect();
        assert!(serious.is_empty(), "{place}: {serious:#?}");
        assert!(found["passes"].as_array().is_some_and(|passes| passes.len() > 5), "{place}: axe looked at the page");
    }

    #[track_caller]
    fn find(&self, (using, value): (&'static str, String), what: String) -> impl Future<Output = Element> + '_ {
        let place = std::panic::Location::caller();
        async move {
            let begun = std::time::Instant::now();
            loop {
                // What is drawn anew while it is asked about cannot be seen.
                for node in self.driver.find_all(using, &value).await.unwrap_or_default() {
                    if node.is_displayed().await == Ok(true) {
                        return node;
                    }
                }
                if begun.elapsed() > PATIENCE {
                    panic!("{place}: {what} is not to be seen; the page:\n{}", self.text().await);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Waits for something beside the page.
    #[track_caller]
    pub fn waits<F: AsyncFnMut() -> bool>(&self, what: &str, is_so: F) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move { self.until(place, what, is_so).await }
    }

    async fn until(&self, place: &std::panic::Location<'_>, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !is_so().await {
            assert!(begun.elapsed() < PATIENCE, "{place}: waited in vain for {what}; the page:\n{}", self.text().await);
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A driver that is killed leaves its browser behind: the browser is ended first.
        if let (Some(session), Ok(mut stream)) = (&self.session, TcpStream::connect(("127.0.0.1", self.port))) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let asked = write!(stream, "DELETE /session/{session} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
            // It answers when it is done, and keeps the connection.
            let _ = asked.and_then(|()| stream.read(&mut [0; 64]));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The folder that Cargo builds into.
fn target() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_durhai"));
    binary.parent().and_then(Path::parent).expect("target/debug/durhai").to_owned()
}

/// The text of axe, where `cargo xtask install` puts it.
fn axe() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/venv/lib");
    let places = std::fs::read_dir(root).ok()?;
    let mut files = places.flatten().map(|python| python.path().join("site-packages/axe_playwright_python/axe.min.js"));
    files.find(|file| file.is_file())
}
