//! What a host tells of itself while it runs, and to whom.

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;

/// Logs and telemetry of a host.
#[derive(Debug, Clone, Default, Args)]
pub struct Observing {
    /// How the log is written. `json`: one JSON object a line on standard error, and nothing for people anywhere.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, help_heading = "Telemetry")]
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`. Default: `warn`, and `info` as JSON.
    #[arg(long, env = "DURHAI_LOG", value_name = "LEVEL", help_heading = "Telemetry")]
    pub log_level: Option<LevelFilter>,
    /// Send traces and metrics to the OpenTelemetry collector there (OTLP over HTTP), like http://localhost:4318; the same as
    /// OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, value_name = "ENDPOINT", help_heading = "Telemetry")]
    pub otlp: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// Lines for programs.
    Json,
}
