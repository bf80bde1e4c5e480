//! A collector that keeps what it gets, and answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use durhai_otlp::{Config, Exporter};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Longer than anything takes; only a broken test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Collector {
    pub port: u16,
    kept: Arc<Kept>,
}

struct Kept {
    got: watch::Sender<Got>,
    /// What the next requests are answered; then all is well.
    answers: Mutex<VecDeque<Answer>>,
}

/// What came.
#[derive(Debug, Clone, Default)]
pub struct Got {
    /// Of requests that were answered well.
    pub spans: Vec<Span>,
    pub metrics: Vec<Metric>,
    pub resource: BTreeMap<String, String>,
    pub requests: Vec<(String, HeaderMap)>,
}

pub enum Answer {
    Status(u16, Option<&'static str>),
    /// As soon as this is true.
    Held(watch::Receiver<bool>),
}

impl Collector {
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Collector {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Kept {
            got: watch::channel(Got::default()).0,
            answers: Mutex::new(answers.into_iter().collect()),
        });
        let router = Router::new().fallback(take).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Collector { port, kept }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An exporter to it, with these variables beside.
    pub fn exporter(&self, variables: &[(&str, &str)]) -> Exporter {
        exporter(&self.url(), variables)
    }

    /// What has come so far.
    pub fn got(&self) -> Got {
        self.kept.got.borrow().clone()
    }

    /// What has come, once it is enough.
    pub async fn until(&self, enough: impl FnMut(&Got) -> bool) -> Got {
        let mut got = self.kept.got.subscribe();
        let got = tokio::time::timeout(PATIENCE, got.wait_for(enough)).await;
        got.expect("nothing more comes").unwrap().clone()
    }
}

pub fn exporter(endpoint: &str, variables: &[(&str, &str)]) -> Exporter {
    let get = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Exporter::start(Config::from_env(Some(endpoint), get).unwrap().unwrap()).unwrap()
}

impl Got {
    /// The spans of this name, in the order of their beginning, attempts of one step in theirs.
    pub fn named(&self, name: &str) -> Vec<&Span> {
        let mut found: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        found.sort_by_key(|span| (span.start_time_unix_nano, attribute(span, "durhai.attempt")));
        found
    }

    pub fn one(&self, name: &str) -> &Span {
        let found = self.named(name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0]
    }
}

/// An attribute as text; empty where there is none.
pub fn attribute(span: &Span, key: &str) -> String {
    texts(&span.attributes).remove(key).unwrap_or_default()
}

pub fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn take(State(kept): State<Arc<Kept>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    kept.got.send_modify(|got| got.requests.push((path.clone(), headers)));
    if !path.starts_with("/v1/") {
        return "hello".into_response();
    }
    let answer = kept.answers.lock().pop_front();
    match answer {
        Some(Answer::Status(status, after)) => {
            let status = StatusCode::from_u16(status).unwrap();
            return match after {
                Some(after) => (status, [("retry-after", after)]).into_response(),
                None => status.into_response(),
            };
        }
        Some(Answer::Held(mut free)) => drop(free.wait_for(|free| *free).await),
        None => {}
    }
    kept.got.send_modify(|got| match path.as_str() {
        "/v1/traces" => {
            for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
                got.resource = texts(&resource.resource.unwrap().attributes);
                got.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        _ => {
            for resource in ExportMetricsServiceRequest::decode(body).unwrap().resource_metrics {
                got.metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect();
            }
        }
    });
    StatusCode::OK.into_response()
}
