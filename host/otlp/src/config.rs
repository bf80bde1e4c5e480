//! Where to export to, and what: from the environment variables that the OpenTelemetry standard names.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::sampler::Sampler;

/// What to export, and where to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where spans go; `None`: they are not exported.
    pub traces: Option<Target>,
    /// Where metrics go; `None`: they are not exported.
    pub metrics: Option<Target>,
    pub sampler: Sampler,
    /// Who sends, `service.name` among it.
    pub resource: BTreeMap<String, String>,
    /// Spans that wait to be sent, at most. Default: 8192.
    pub queue: usize,
    /// Spans of one request, at most. Default: 512.
    pub batch: usize,
    /// How long a span waits for others. Default: 5 seconds.
    pub delay: Duration,
    /// Between two exports of metrics. Default: one minute.
    pub interval: Duration,
}

/// One address of a collector.
#[derive(Clone)]
pub struct Target {
    pub url: Url,
    pub headers: HeaderMap,
    /// For one request. Default: 10 seconds.
    pub timeout: Duration,
}

/// A variable or an option that makes no sense. Values of headers are not in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Where a collector listens on the same machine.
const USUAL: &str = "http://localhost:4318";

impl Config {
    /// From variables, by their names; `endpoint` stands in for `OTEL_EXPORTER_OTLP_ENDPOINT`, and wins over it. `None`: there
    /// is nothing to export, because no endpoint is named, or because it is turned off.
    pub fn from_env(endpoint: Option<&str>, get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        // An empty variable is one that is not set.
        let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let endpoint = endpoint.map(ToOwned::to_owned).or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let target = |signal: &str| Target::from_env(signal, endpoint.as_deref(), &get);
        let (traces, metrics) = (target("TRACES")?, target("METRICS")?);
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let sampler = match get("OTEL_TRACES_SAMPLER") {
            Some(name) => Sampler::parse(&name, get("OTEL_TRACES_SAMPLER_ARG").as_deref()).map_err(ConfigError)?,
            None => Sampler::default(),
        };
        let mut resource = BTreeMap::from([("service.name".to_owned(), "durhai".to_owned())]);
        if let Some(text) = get("OTEL_RESOURCE_ATTRIBUTES") {
            resource.extend(pairs("OTEL_RESOURCE_ATTRIBUTES", &text)?);
        }
        if let Some(name) = get("OTEL_SERVICE_NAME") {
            resource.insert("service.name".into(), name);
        }
        let queue = number("OTEL_BSP_MAX_QUEUE_SIZE", &get)?.unwrap_or(8_192).clamp(1, 1 << 20) as usize;
        let batch = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &get)?.unwrap_or(512).clamp(1, 1 << 16) as usize;
        let millis = |name: &str, usual: u64| {
            Ok::<_, ConfigError>(Duration::from_millis(number(name, &get)?.unwrap_or(usual).max(1)))
        };
        Ok(Some(Config {
            traces,
            metrics,
            sampler,
            resource,
            queue,
            batch: batch.min(queue),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
            interval: millis("OTEL_METRIC_EXPORT_INTERVAL", 60_000)?,
        }))
    }
}

impl Target {
    fn from_env(
        signal: &str,
        endpoint: Option<&str>,
        get: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let either = |what: &str| {
            let (own, all) = (format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}"));
            get(&own).map(|value| (own, value)).or_else(|| get(&all).map(|value| (all, value)))
        };
        let exporter = format!("OTEL_{signal}_EXPORTER");
        let asked = match get(&exporter).as_deref() {
            None => false,
            Some("none") => return Ok(None),
            Some("otlp") => true,
            Some(other) => return Err(ConfigError(format!("{exporter} is {other:?}; there are otlp and none"))),
        };
        let own = get(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"));
        if own.is_none() && endpoint.is_none() && !asked {
            return Ok(None);
        }
        if let Some((name, protocol)) = either("PROTOCOL")
            && protocol != "http/protobuf"
        {
            let usual = "a collector takes it at port 4318";
            return Err(ConfigError(format!("{name} is {protocol:?}; only http/protobuf is spoken: {usual}")));
        }
        let url = match own {
            Some(own) => address(&own)?,
            None => below(&address(endpoint.unwrap_or(USUAL))?, &format!("v1/{}", signal.to_ascii_lowercase())),
        };
        let mut headers = HeaderMap::new();
        for name in ["OTEL_EXPORTER_OTLP_HEADERS".to_owned(), format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS")] {
            let Some(text) = get(&name) else { continue };
            for (header, value) in pairs(&name, &text)? {
                let bad = || ConfigError(format!("{name}: {header:?} cannot be a header with that value"));
                let mut value = HeaderValue::from_str(&value).map_err(|_| bad())?;
                value.set_sensitive(true);
                headers.insert(HeaderName::from_bytes(header.as_bytes()).map_err(|_| bad())?, value);
            }
        }
        let timeout = match either("TIMEOUT") {
            Some((name, text)) => Duration::from_millis(whole(&name, &text)?.max(1)),
            None => Duration::from_secs(10),
        };
        Ok(Some(Target { url, headers, timeout }))
    }

    /// The address without what may be secret in it.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Fails only for URLs without a host.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_query(None);
        url.to_string()
    }
}

/// Names of headers only: their values are keys.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Target").field("url", &self.shown()).field("headers", &headers).finish_non_exhaustive()
    }
}

fn address(text: &str) -> Result<Url, ConfigError> {
    let bad = |why: &str| {
        ConfigError(format!("the OTLP endpoint {text:?} is no address: {why}; write it like http://localhost:4318"))
    };
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err(bad("it must begin with http:// or https://")),
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// `name=value,name=value`, values with `%20` and the like.
fn pairs(variable: &str, text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let wrong = || ConfigError(format!("{variable} must be written as name=value,name=value"));
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let decoded =
                |text: &str| percent_decode_str(text.trim()).decode_utf8().map(Into::into).map_err(|_| wrong());
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn number(name: &str, get: &impl Fn(&str) -> Option<String>) -> Result<Option<u64>, ConfigError> {
    get(name).map(|text| whole(name, &text)).transpose()
}

fn whole(name: &str, text: &str) -> Result<u64, ConfigError> {
    text.parse().map_err(|_| ConfigError(format!("{name} is {text:?}; it must be a whole number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
        Config::from_env(endpoint, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn urls(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Option<(String, String)> {
        let url = |target: Option<Target>| target.map_or("none".into(), |target| target.url.to_string());
        read(endpoint, variables).unwrap().map(|config| (url(config.traces), url(config.metrics)))
    }

    #[test]
    fn where_it_goes() {
        let (e, t) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let some = |traces: &str, metrics: &str| Some((traces.to_owned(), metrics.to_owned()));
        for (endpoint, variables, wanted) in [
            (None, vec![], None),
            (None, vec![(e, "")], None),
            (None, vec![(e, "http://c:4318")], some("http://c:4318/v1/traces", "http://c:4318/v1/metrics")),
            (None, vec![(e, "https://c/otlp/")], some("https://c/otlp/v1/traces", "https://c/otlp/v1/metrics")),
            (Some("http://d:1"), vec![(e, "http://c:4318")], some("http://d:1/v1/traces", "http://d:1/v1/metrics")),
            (None, vec![(t, "http://c:4318/x")], some("http://c:4318/x", "none")),
            (Some("http://d:1"), vec![(t, "http://c/x")], some("http://c/x", "http://d:1/v1/metrics")),
            (None, vec![(e, "http://c"), ("OTEL_METRICS_EXPORTER", "none")], some("http://c/v1/traces", "none")),
            (None, vec![("OTEL_TRACES_EXPORTER", "otlp")], some("http://localhost:4318/v1/traces", "none")),
            (None, vec![(e, "http://c"), ("OTEL_SDK_DISABLED", "TRUE")], None),
            (Some("http://c"), vec![("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")], None),
        ] {
            assert_eq!(urls(endpoint, &variables), wanted, "{endpoint:?} {variables:?}");
        }
    }

    #[test]
    fn what_else_there_is() {
        let config = read(
            Some("http://user:pass@c:4318"),
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=1"),
                ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x=2"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
                ("OTEL_SERVICE_NAME", "shop"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test"),
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            ],
        );
        let config = config.unwrap().unwrap();
        let (traces, metrics) = (config.traces.unwrap(), config.metrics.unwrap());
        assert_eq!(
            (&traces.headers["api-key"], &traces.headers["x"], &metrics.headers["x"]),
            (&HeaderValue::from_static("a b"), &HeaderValue::from_static("1"), &HeaderValue::from_static("2"))
        );
        assert_eq!(traces.timeout, Duration::from_millis(250));
        assert_eq!((traces.shown(), format!("{traces:?}").contains("pass")), ("http://c:4318/v1/traces".into(), false));
        assert!(!format!("{traces:?}").contains("a b"), "{traces:?}");
        assert_eq!(
            (&*config.resource["service.name"], &*config.resource["deployment.environment.name"]),
            ("shop", "test")
        );
        assert_eq!((config.sampler, config.queue, config.batch), (Sampler::Ratio(0.5), 10, 10));
        assert_eq!(config.interval, Duration::from_secs(1));
    }

    #[test]
    fn mistakes_name_the_variable_and_keep_secrets() {
        let endpoint = Some("http://c");
        for (endpoint, variables, wanted) in [
            (Some("c:4318"), vec![], "write it like http://localhost:4318"),
            (Some("localhost"), vec![], "write it like http://localhost:4318"),
            (endpoint, vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "only http/protobuf"),
            (endpoint, vec![("OTEL_TRACES_EXPORTER", "zipkin")], "OTEL_TRACES_EXPORTER is \"zipkin\""),
            (
                endpoint,
                vec![("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")],
                "OTEL_EXPORTER_OTLP_HEADERS must be written as",
            ),
            (endpoint, vec![("OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2")], "OTEL_EXPORTER_OTLP_HEADERS: \"a b\""),
            (endpoint, vec![("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0A")], "cannot be a header"),
            (endpoint, vec![("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], "must be a whole number"),
            (endpoint, vec![("OTEL_TRACES_SAMPLER", "sometimes")], "OTEL_TRACES_SAMPLER is \"sometimes\""),
        ] {
            let error = read(endpoint, &variables).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("hunter2"), "{variables:?}: {error}");
        }
    }
}
