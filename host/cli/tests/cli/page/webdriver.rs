//! As much of WebDriver (<https://www.w3.org/TR/webdriver2/>) as the tests need, with what Chromium adds to it. The clients in
//! libraries switch on features of serde_json, for the whole binary that is to be tested.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// How the protocol marks a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What a command came to: the error is the driver's own text.
pub type Answer<T> = Result<T, String>;

/// A browser that was started by a driver.
#[derive(Clone)]
pub struct Session {
    http: reqwest::Client,
    url: String,
    /// What the driver calls it.
    pub id: String,
}

/// An element of the page that was shown when it was found.
pub struct Element {
    session: Session,
    id: String,
}

/// A line of the browser's console.
#[derive(Debug, Deserialize)]
pub struct ConsoleLine {
    pub level: String,
    pub message: String,
}

/// Keys that are no characters.
pub mod key {
    pub const ENTER: &str = "\u{E007}";
    pub const ESCAPE: &str = "\u{E00C}";
    pub const END: &str = "\u{E010}";
    pub const HOME: &str = "\u{E011}";
    pub const RIGHT: &str = "\u{E014}";
    pub const DOWN: &str = "\u{E015}";
}

impl Session {
    /// Starts Chromium with these arguments.
    pub async fn start(driver: &str, args: &[String]) -> Answer<Session> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).no_proxy().build();
        let http = http.map_err(|error| error.to_string())?;
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let url = format!("{driver}/session");
        let begun = Session { http: http.clone(), url: url.clone(), id: String::new() }.ask("", Some(wanted)).await?;
        let id = begun["sessionId"].as_str().ok_or_else(|| format!("no session in {begun}"))?.to_owned();
        Ok(Session { http, url: format!("{url}/{id}"), id })
    }

    pub async fn goto(&self, url: &str) -> Answer<()> {
        self.ask("/url", Some(json!({ "url": url }))).await.map(drop)
    }

    pub async fn refresh(&self) -> Answer<()> {
        self.ask("/refresh", Some(json!({}))).await.map(drop)
    }

    pub async fn back(&self) -> Answer<()> {
        self.ask("/back", Some(json!({}))).await.map(drop)
    }

    /// What the body of a function gives.
    pub async fn execute(&self, script: &str, args: &[Value]) -> Answer<Value> {
        self.ask("/execute/sync", Some(json!({ "script": script, "args": args }))).await
    }

    /// What it calls its last argument with.
    pub async fn execute_async(&self, script: &str) -> Answer<Value> {
        self.ask("/execute/async", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Everything that fits, by `css selector` or `xpath`.
    pub async fn find_all(&self, using: &str, value: &str) -> Answer<Vec<Element>> {
        let found = self.ask("/elements", Some(json!({ "using": using, "value": value }))).await?;
        let element = |found: &Value| {
            let id = found[ELEMENT].as_str()?.to_owned();
            Some(Element { session: self.clone(), id })
        };
        Ok(found.as_array().into_iter().flatten().filter_map(element).collect())
    }

    /// Keys, one after the other, wherever the focus is.
    pub async fn keys(&self, keys: &str) -> Answer<()> {
        let strokes =
            |key: char| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let actions: Vec<_> = keys.chars().flat_map(strokes).collect();
        let all = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.ask("/actions", Some(all)).await.map(drop)
    }

    /// A PNG, in base64.
    pub async fn screenshot(&self) -> Answer<String> {
        let picture = self.ask("/screenshot", None).await?;
        picture.as_str().map(ToOwned::to_owned).ok_or_else(|| "no picture".into())
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, params: Value) -> Answer<Value> {
        self.ask("/goog/cdp/execute", Some(json!({ "cmd": command, "params": params }))).await
    }

    /// What came to the console since the last look.
    pub async fn console(&self) -> Answer<Vec<ConsoleLine>> {
        let lines = self.ask("/se/log", Some(json!({ "type": "browser" }))).await?;
        serde_json::from_value(lines).map_err(|error| error.to_string())
    }

    async fn ask(&self, path: &str, body: Option<Value>) -> Answer<Value> {
        let url = format!("{}{path}", self.url);
        let request = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url),
        };
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"].as_str().unwrap_or_default())),
            None => Ok(answer["value"].take()),
        }
    }
}

impl Element {
    pub async fn click(&self) -> Answer<()> {
        self.post("click", json!({})).await
    }

    pub async fn clear(&self) -> Answer<()> {
        self.post("clear", json!({})).await
    }

    pub async fn send_keys(&self, text: &str) -> Answer<()> {
        self.post("value", json!({ "text": text })).await
    }

    pub async fn is_displayed(&self) -> Answer<bool> {
        self.get("displayed").await.map(|value| value == true)
    }

    /// A property of the object in the document.
    pub async fn prop(&self, name: &str) -> Answer<Option<String>> {
        self.get(&format!("property/{name}")).await.map(|value| value.as_str().map(ToOwned::to_owned))
    }

    /// An attribute, as it is written.
    pub async fn attr(&self, name: &str) -> Answer<Option<String>> {
        self.get(&format!("attribute/{name}")).await.map(|value| value.as_str().map(ToOwned::to_owned))
    }

    /// Chooses from a list what shows this text.
    pub async fn choose(&self, shown: &str) -> Answer<()> {
        let options = format!("./option[normalize-space(.)={shown:?}]");
        let body = json!({ "using": "xpath", "value": options });
        let found = self.session.ask(&format!("/element/{}/element", self.id), Some(body)).await?;
        let id = found[ELEMENT].as_str().ok_or_else(|| format!("no element in {found}"))?.to_owned();
        Element { session: self.session.clone(), id }.click().await
    }

    pub async fn scroll_into_view(&self) -> Answer<()> {
        let script = "arguments[0].scrollIntoView({ block: 'center' })";
        self.session.execute(script, &[json!({ ELEMENT: self.id })]).await.map(drop)
    }

    async fn post(&self, what: &str, body: Value) -> Answer<()> {
        self.session.ask(&format!("/element/{}/{what}", self.id), Some(body)).await.map(drop)
    }

    async fn get(&self, what: &str) -> Answer<Value> {
        self.session.ask(&format!("/element/{}/{what}", self.id), None).await
    }
}
