//! Collectors that are away, slow, busy, or refuse: nothing of the host waits for them.

use std::time::{Duration, Instant};

use durhai::Host;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::collector::{Answer, Collector, exporter, texts};

async fn host(exporter: &durhai_otlp::Exporter) -> Host {
    Host::builder().workflow("w", "input").observe(exporter.observer()).start().await.unwrap()
}

/// Runs to their ends, one after the other: a span each.
async fn runs(host: &Host, count: usize) {
    for n in 0..count {
        let output: usize = host.run("w").input(&n).start().await.unwrap().output().await.unwrap();
        assert_eq!(output, n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there() {
    let port = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let exporter = exporter(&format!("http://127.0.0.1:{port}"), &[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]);
    let host = host(&exporter).await;
    runs(&host, 30).await;
    host.shutdown().await;
    let lost = exporter.dropped();
    assert!((10..=20).contains(&lost), "{lost}");
    let began = Instant::now();
    exporter.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_busy_is_asked_again() {
    let collector = Collector::start([Answer::Status(503, Some("1")), Answer::Status(429, Some("0"))]).await;
    let exporter = collector.exporter(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame"),
    ]);
    let host = host(&exporter).await;
    let began = Instant::now();
    runs(&host, 3).await;
    let got = collector.until(|got| got.spans.len() == 3).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(got.requests.len() >= 3);
    for (path, headers) in &got.requests {
        assert_eq!(
            (&**path, &headers["content-type"], &headers["api-key"]),
            ("/v1/traces", &"application/x-protobuf".parse().unwrap(), &"sesame".parse().unwrap())
        );
    }
    assert_eq!(exporter.dropped(), 0);
    host.shutdown().await;
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_refuses_is_lost_and_the_rest_is_not() {
    let collector = Collector::start([Answer::Status(400, None)]).await;
    let exporter = collector.exporter(&[("OTEL_BSP_SCHEDULE_DELAY", "1"), ("OTEL_METRICS_EXPORTER", "none")]);
    let host = host(&exporter).await;
    runs(&host, 1).await;
    collector.until(|got| got.requests.len() == 1).await;
    runs(&host, 1).await;
    collector.until(|got| got.spans.len() == 1).await;
    assert_eq!(exporter.dropped(), 1);
    host.shutdown().await;
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_slow_holds_up_nobody() {
    let (free, held) = watch::channel(false);
    let collector = Collector::start([Answer::Held(held)]).await;
    let exporter = collector.exporter(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "20"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]);
    let host = host(&exporter).await;
    runs(&host, 10).await;
    collector.until(|got| got.requests.len() == 1).await;
    // Ten are on their way, twenty find room, ten are lost; the runs go on.
    runs(&host, 30).await;
    assert_eq!(exporter.dropped(), 10);
    free.send(true).unwrap();
    let got = collector.until(|got| got.spans.len() == 30).await;
    assert!(got.requests.len() >= 3);
    host.shutdown().await;
    exporter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_sent_at_intervals_and_at_the_end() {
    let collector = Collector::start([]).await;
    let exporter = collector.exporter(&[("OTEL_METRIC_EXPORT_INTERVAL", "50"), ("OTEL_TRACES_EXPORTER", "none")]);
    let host = host(&exporter).await;
    exporter.measure(&host);
    collector.until(|got| got.requests.len() >= 2).await;
    runs(&host, 3).await;
    host.shutdown().await;
    exporter.shutdown().await;
    let got = collector.got();
    assert!(got.requests.iter().all(|(path, _)| path == "/v1/metrics") && got.spans.is_empty());
    let (mut sums, mut gauges, mut histograms) = (0, 0, 0);
    for metric in &got.metrics {
        assert!(metric.name.starts_with("durhai_") && !metric.name.ends_with("_total"), "{}", metric.name);
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality() == AggregationTemporality::Cumulative);
                assert!(sum.data_points.iter().all(|point| point.start_time_unix_nano < point.time_unix_nano));
                sums += 1;
            }
            Data::Gauge(_) => gauges += 1,
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1, "{}", metric.name);
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{}", metric.name);
                }
                histograms += 1;
            }
            other => panic!("{}: {other:?}", metric.name),
        }
    }
    assert!(sums > 3 && gauges > 1 && histograms > 1, "{sums} {gauges} {histograms}");
    let runs = got.metrics.iter().filter_map(|metric| match metric.data.as_ref()? {
        Data::Histogram(histogram) => Some(&histogram.data_points),
        _ => None,
    });
    let ended = runs.flatten().any(|point| texts(&point.attributes).get("workflow").is_some_and(|name| name == "w"));
    assert!(ended, "{:?}", got.metrics);
}
