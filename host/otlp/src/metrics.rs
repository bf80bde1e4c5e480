//! The metrics of a host as OTLP has them: messages with their fields by number, as in
//! `opentelemetry/proto/metrics/v1/metrics.proto`.

use durhai::metrics::{Distribution, MetricFamily, MetricKind, MetricSeries, MetricValue, Metrics};

use crate::proto::Message;
use crate::spans::text;

/// Of `AggregationTemporality`.
const CUMULATIVE: i64 = 2;

/// Counted since `start`, read at `now`, both in nanoseconds since the Unix epoch. A `Metric` each.
pub(crate) fn all(metrics: &Metrics, start: u64, now: u64) -> Vec<Message> {
    metrics.families.iter().filter(|family| !family.series.is_empty()).map(|family| one(family, start, now)).collect()
}

fn one(family: &MetricFamily, start: u64, now: u64) -> Message {
    let numbers = |start: u64| {
        let points = family.series.iter().filter_map(|series| number(series, start, now));
        Message::default().messages(1, points)
    };
    // A store that wants the ending adds it.
    let name = family.name.strip_suffix("_total").unwrap_or(&family.name);
    let unit = match &*family.unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    };
    let metric = Message::default().text(1, name).text(2, &family.help).text(3, unit);
    match family.kind {
        MetricKind::Gauge => metric.message(5, numbers(0)),
        MetricKind::Counter => metric.message(7, numbers(start).number(2, CUMULATIVE).number(3, true.into())),
        MetricKind::Histogram => {
            let points = family.series.iter().filter_map(|series| match &series.value {
                MetricValue::Histogram(distribution) => Some(histogram(series, distribution, start, now)),
                MetricValue::Number(_) => None,
            });
            metric.message(9, Message::default().messages(1, points).number(2, CUMULATIVE))
        }
    }
}

fn labels(series: &MetricSeries) -> impl Iterator<Item = Message> {
    series.labels.iter().map(|(name, value)| text(name, value))
}

fn number(series: &MetricSeries, start: u64, now: u64) -> Option<Message> {
    let MetricValue::Number(value) = series.value else { return None };
    let point = Message::default().fixed64(2, start).fixed64(3, now);
    Some(point.double_of_choice(4, value).messages(7, labels(series)))
}

fn histogram(series: &MetricSeries, found: &Distribution, start: u64, now: u64) -> Message {
    let (mut counts, mut below) = (Vec::with_capacity(found.buckets.len() + 1), 0);
    for (_, up_to) in &found.buckets {
        counts.push(up_to.saturating_sub(below));
        below = *up_to;
    }
    counts.push(found.count.saturating_sub(below));
    Message::default()
        .fixed64(2, start)
        .fixed64(3, now)
        .fixed64(4, found.count)
        .double_of_choice(5, found.sum)
        .packed(6, counts.into_iter().map(u64::to_le_bytes))
        .packed(7, found.buckets.iter().map(|(bound, _)| bound.to_le_bytes()))
        .messages(9, labels(series))
}
