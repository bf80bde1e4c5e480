//! Metrics as text for Prometheus, exposition format 0.0.4.

use std::fmt::Write;

use super::data::{MetricKind, MetricValue, Metrics};

impl Metrics {
    /// The text that a scrape gets; its media type is `text/plain; version=0.0.4`.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            let kind = match family.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            let name = &family.name;
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for series in &family.series {
                let labels = &series.labels;
                match &series.value {
                    MetricValue::Number(value) => line(&mut text, name, "", labels, None, *value),
                    MetricValue::Histogram(of) => {
                        for (bound, count) in &of.buckets {
                            line(&mut text, name, "_bucket", labels, Some(&bound.to_string()), *count as f64);
                        }
                        line(&mut text, name, "_bucket", labels, Some("+Inf"), of.count as f64);
                        line(&mut text, name, "_sum", labels, None, of.sum);
                        line(&mut text, name, "_count", labels, None, of.count as f64);
                    }
                }
            }
        }
        text
    }
}

fn line(text: &mut String, name: &str, part: &str, labels: &[(String, String)], bound: Option<&str>, value: f64) {
    text.push_str(name);
    text.push_str(part);
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (at, (name, value)) in labels.chain(bound.map(|bound| ("le", bound))).enumerate() {
        text.push(if at == 0 { '{' } else { ',' });
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if text.ends_with('"') {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}
