//! One request to a collector, tried again where that makes sense.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::Target;

/// A collector, and whether it answered last time.
pub(crate) struct Post {
    client: Client,
    target: Target,
    /// True from the moment on at which everything should come to an end.
    ending: watch::Receiver<bool>,
    /// It was said in the log that it does not take what it is sent.
    said: bool,
}

/// A request that keeps failing is given up after this long, and the next one is tried.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How an attempt failed.
struct Refusal {
    why: String,
    /// Another attempt may do, after so long where the collector says.
    again: bool,
    wait: Option<Duration>,
}

impl Post {
    pub fn new(target: Target, ending: watch::Receiver<bool>) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("durhai-otlp/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(target.timeout)
            .build()?;
        Ok(Post { client, target, ending, said: false })
    }

    /// Sends it, for as long as there is hope; the body of the answer. `None`: it is lost, and the log knows of the first.
    pub async fn send(&mut self, body: Vec<u8>) -> Option<Vec<u8>> {
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let refusal = match self.once(body.clone()).await {
                Ok(answer) => {
                    if std::mem::take(&mut self.said) {
                        tracing::info!("the collector at {} takes what it is sent again", self.target.shown());
                    }
                    return Some(answer);
                }
                Err(refusal) => refusal,
            };
            if !std::mem::replace(&mut self.said, true) {
                let and = if refusal.again { "; it is tried again" } else { "" };
                tracing::warn!("the collector at {} takes nothing: {}{and}", self.target.shown(), refusal.why);
            }
            let pause = refusal.wait.unwrap_or(wait).min(PATIENCE);
            if !refusal.again || began.elapsed() + pause > PATIENCE {
                return None;
            }
            self.pause(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// When everything comes to an end, that is no reason to wait longer than for a moment.
    async fn pause(&mut self, wait: Duration) {
        if *self.ending.borrow() {
            return sleep(wait.min(Duration::from_millis(500))).await;
        }
        tokio::select! {
            () = sleep(wait) => {}
            _ = self.ending.wait_for(|ending| *ending) => {}
        }
    }

    async fn once(&self, body: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let sending = self.client.post(self.target.url.clone()).headers(self.target.headers.clone());
        let sending = sending.header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let lost = |error: reqwest::Error| Refusal { why: causes(error.without_url()), again: true, wait: None };
        let answer = sending.send().await.map_err(lost)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer.bytes().await.map_err(lost)?.to_vec());
        }
        let again = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        Err(Refusal { why: format!("it answered {status}"), again, wait: retry_after(&answer) })
    }
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok(),
    }
}

fn causes(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
