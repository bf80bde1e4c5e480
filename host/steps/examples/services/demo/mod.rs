//! All services in one process, one request at a time, so that the same requests always have the same answers.

mod catalogue;
mod parcels;
mod payments;
mod stock;
mod warehouse;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

// For tests, which include this module.
#[allow(unused_imports)]
pub use catalogue::is_bad;

/// What opens payments and refunds: `Authorization: Bearer …`.
pub const TOKEN: &str = "demo-key-4711";

#[derive(Debug, Clone)]
pub struct Options {
    /// In the catalogue.
    pub products: usize,
    /// What busy services ask for, in seconds.
    pub retry_after: u64,
    /// How often the fourth page of the catalogue is cut off.
    pub cuts: u32,
}

/// Runs until it is dropped.
pub async fn serve(listener: TcpListener, options: Options) -> io::Result<()> {
    let services = Services {
        began: Instant::now(),
        options,
        journal: Vec::new(),
        faults: BTreeMap::new(),
        warehouse: warehouse::Warehouse::default(),
        stock: stock::Stock::default(),
        payments: payments::Payments::default(),
        parcels: parcels::Parcels::default(),
    };
    let router = Router::new().fallback(handle).with_state(Arc::new(Mutex::new(services)));
    axum::serve(listener, router).await
}

impl Default for Options {
    fn default() -> Self {
        Options { products: 500, retry_after: 1, cuts: 1 }
    }
}

struct Services {
    began: Instant,
    options: Options,
    journal: Vec<Entry>,
    /// How often each fault was met.
    faults: BTreeMap<String, u32>,
    warehouse: warehouse::Warehouse,
    stock: stock::Stock,
    payments: payments::Payments,
    parcels: parcels::Parcels,
}

/// One request, as `/journal` shows it.
#[derive(Debug, Clone, Serialize)]
struct Entry {
    number: usize,
    /// Milliseconds since the services began.
    at: u128,
    method: String,
    path: String,
    /// The header `Idempotency-Key`.
    key: Option<String>,
    status: u16,
    /// What was changed, if anything was.
    effect: Option<&'static str>,
    subject: Option<String>,
}

/// One request, as services see it.
struct Ask<'a> {
    path: &'a [&'a str],
    query: BTreeMap<String, String>,
    key: Option<&'a str>,
    token: Option<&'a str>,
    body: Value,
}

struct Answer {
    status: u16,
    body: String,
    retry_after: Option<u64>,
    effect: Option<&'static str>,
    subject: Option<String>,
    /// Where to tell something once the answer is out, and what.
    call: Option<(String, Value)>,
}

async fn handle(
    State(services): State<Arc<Mutex<Services>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let path: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let ask = Ask {
        path: &path,
        query: Query::try_from_uri(&uri).map(|Query(query)| query).unwrap_or_default(),
        key: header("idempotency-key"),
        token: header("authorization").and_then(|value| value.strip_prefix("Bearer ")),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let answer = services.lock().answer(&method, &uri, &ask);
    if let Some((url, news)) = answer.call {
        tokio::spawn(call_back(url, news));
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [("content-type", "application/json")], answer.body).into_response();
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

/// Tells it once. If nobody hears it, it is lost, as such calls are.
async fn call_back(url: String, news: Value) {
    let _ = reqwest::Client::new().post(url).json(&news).send().await;
}

impl Services {
    fn answer(&mut self, method: &Method, uri: &Uri, ask: &Ask<'_>) -> Answer {
        let is_journal = ask.path.first() == Some(&"journal");
        let answer = match (method.as_str(), ask.path) {
            ("GET", ["journal"]) => self.entries(ask),
            ("GET", ["journal", "effects"]) => self.effects(),
            ("GET", ["catalogue", "products"]) => catalogue::page(self, ask),
            ("PUT", ["warehouse", "products"]) => warehouse::load(self, ask),
            ("GET", ["warehouse", "products"]) => self.warehouse.all(),
            ("PUT", ["stock", "reservations", order]) => self.stock.reserve(order, &ask.body),
            ("DELETE", ["stock", "reservations", order]) => self.stock.release(order),
            ("POST", ["payments"]) => payments::charge(self, ask),
            ("POST", ["refunds"]) => payments::refund(self, ask),
            ("POST", ["parcels"]) => parcels::send(self, ask),
            ("GET", ["parcels", number]) => self.parcels.look(number),
            ("POST", ["recalls"]) => self.parcels.recall(ask),
            ("POST", ["mails"]) => self.parcels.mail(ask),
            _ => Answer::error(404, format!("there is nothing at {method} {}", uri.path())),
        };
        if !is_journal {
            self.journal.push(Entry {
                number: self.journal.len() + 1,
                at: self.began.elapsed().as_millis(),
                method: method.to_string(),
                path: uri.to_string(),
                key: ask.key.map(str::to_owned),
                status: answer.status,
                effect: answer.effect,
                subject: answer.subject.clone(),
            });
        }
        answer
    }

    /// Without a query all of it; `?subject=A-1` is what was done to that, `?effect=charged` what was done in that way.
    fn entries(&self, ask: &Ask<'_>) -> Answer {
        let fits = |name: &str, value: Option<&str>| ask.query.get(name).is_none_or(|wanted| value == Some(wanted));
        let fits = |entry: &&Entry| fits("effect", entry.effect) && fits("subject", entry.subject.as_deref());
        Answer::ok(json!(self.journal.iter().filter(fits).collect::<Vec<_>>()))
    }

    /// How often each effect came to pass.
    fn effects(&self) -> Answer {
        let mut effects: BTreeMap<&str, u32> = BTreeMap::new();
        for effect in self.journal.iter().filter_map(|entry| entry.effect) {
            *effects.entry(effect).or_default() += 1;
        }
        Answer::ok(json!(effects))
    }

    /// Whether a fault strikes that strikes the first `times` times only.
    fn strikes(&mut self, fault: impl Into<String>, times: u32) -> bool {
        let met = self.faults.entry(fault.into()).or_default();
        *met += 1;
        *met <= times
    }

    /// The answer of a service that has too much to do.
    fn busy(&self, status: u16) -> Answer {
        let mut answer = Answer::error(status, "too much to do, come again later");
        answer.retry_after = Some(self.options.retry_after);
        answer
    }
}

impl Answer {
    fn new(status: u16, body: &Value) -> Self {
        Answer { status, body: body.to_string(), retry_after: None, effect: None, subject: None, call: None }
    }

    fn ok(body: Value) -> Self {
        Answer::new(200, &body)
    }

    fn error(status: u16, message: impl Into<String>) -> Self {
        Answer::new(status, &json!({ "error": message.into() }))
    }

    /// Says in the journal what was done to what.
    fn did(mut self, effect: &'static str, subject: impl Into<String>) -> Self {
        (self.effect, self.subject) = (Some(effect), Some(subject.into()));
        self
    }

    /// What was done stays done, but nobody learns of it.
    fn lost(self) -> Self {
        let Answer { effect, subject, .. } = self;
        Answer { effect, subject, ..Answer::error(503, "the answer got lost") }
    }
}
