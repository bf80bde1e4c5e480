//! The metrics of a host as OTLP has them.

use durhai::metrics::{Distribution, MetricFamily, MetricKind, MetricSeries, MetricValue, Metrics};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
};

use crate::spans::text;

/// Counted since `start`, read at `now`, both in nanoseconds since the Unix epoch.
pub(crate) fn all(metrics: &Metrics, start: u64, now: u64) -> Vec<Metric> {
    metrics.families.iter().filter(|family| !family.series.is_empty()).map(|family| one(family, start, now)).collect()
}

fn one(family: &MetricFamily, start: u64, now: u64) -> Metric {
    let numbers = |start: u64| {
        let series = family.series.iter();
        series.filter_map(|series| number(series, start, now)).collect::<Vec<_>>()
    };
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        MetricKind::Gauge => Data::Gauge(Gauge { data_points: numbers(0) }),
        MetricKind::Counter => {
            Data::Sum(Sum { data_points: numbers(start), aggregation_temporality: temporality, is_monotonic: true })
        }
        MetricKind::Histogram => {
            let points = family.series.iter().filter_map(|series| match &series.value {
                MetricValue::Histogram(distribution) => Some(histogram(series, distribution, start, now)),
                MetricValue::Number(_) => None,
            });
            Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality: temporality })
        }
    };
    Metric {
        // A store that wants the ending adds it.
        name: family.name.strip_suffix("_total").unwrap_or(&family.name).to_owned(),
        description: family.help.clone(),
        unit: match &*family.unit {
            "seconds" => "s".into(),
            "bytes" => "By".into(),
            other => other.into(),
        },
        data: Some(data),
        ..Metric::default()
    }
}

fn labels(series: &MetricSeries) -> Vec<KeyValue> {
    series.labels.iter().map(|(name, value)| text(name, value)).collect()
}

fn number(series: &MetricSeries, start: u64, now: u64) -> Option<NumberDataPoint> {
    let MetricValue::Number(value) = series.value else { return None };
    Some(NumberDataPoint {
        attributes: labels(series),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    })
}

fn histogram(series: &MetricSeries, found: &Distribution, start: u64, now: u64) -> HistogramDataPoint {
    let (mut counts, mut below) = (Vec::with_capacity(found.buckets.len() + 1), 0);
    for (_, up_to) in &found.buckets {
        counts.push(up_to.saturating_sub(below));
        below = *up_to;
    }
    counts.push(found.count.saturating_sub(below));
    HistogramDataPoint {
        attributes: labels(series),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: found.count,
        sum: Some(found.sum),
        bucket_counts: counts,
        explicit_bounds: found.buckets.iter().map(|(bound, _)| *bound).collect(),
        ..HistogramDataPoint::default()
    }
}
