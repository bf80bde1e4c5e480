//! `durhai serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::allow::Allow;
use super::observing::Observing;

#[derive(Debug, Args)]
pub struct Serve {
    /// The folder with the scripts; the same as --scripts.
    pub dir: Option<PathBuf>,
    /// Where the API listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7788")]
    pub listen: String,
    /// On a database: how long this host may not be heard of before the others take it for dead and its runs over. Short leases
    /// take over soon, and bury a host that a busy machine held up. At least 1s.
    #[arg(long, value_name = "TIME", value_parser = lease, default_value = "10s")]
    pub lease: Duration,
    /// On a database: serve what this folder has in all hosts, as if it had just been saved. Without it, a text that another host saved
    /// later serves here, too. For one start: each one that says so takes over again.
    #[arg(long)]
    pub take_over: bool,
    /// A file with a token, or several, one a line; every API call must bring one. DURHAI_TOKEN does the same.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A further host name that requests may use, for a proxy in front.
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Pages of this origin may use the API from a browser: `https://dash.example.org`.
    #[arg(long, value_name = "URL")]
    pub allow_origin: Vec<String>,
    /// Connections at once; one more is answered 503.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_connections: usize,
    /// Live streams, exports, backups and traces at once; one more is answered 503.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_streams: usize,
    /// Where the outside reaches this host: hooks get addresses below it. Default: http:// and where it listens.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    #[command(flatten)]
    pub memory: Memory,
    #[command(flatten)]
    pub allow: Allow,
    /// Print nothing but the address and errors.
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub observing: Observing,
}

/// What the scripts of runs may hold in memory.
#[derive(Debug, Clone, Copy, Args)]
pub struct Memory {
    /// Memory that the scripts of all runs may hold: `512M`, `2G`. Over it the runs that hold more than their share fail with
    /// `limit` when they ask for more.
    #[arg(long, value_name = "SIZE", value_parser = crate::sizes::bytes, default_value = "1G")]
    pub script_memory: u64,
    /// Memory that the script of one run may hold; one that holds more fails with `limit`.
    #[arg(long, value_name = "SIZE", value_parser = crate::sizes::bytes, default_value = "256M")]
    pub run_memory: u64,
}

fn lease(text: &str) -> Result<Duration, String> {
    match durhai::duration::parse(text) {
        Ok(ms) if ms >= 1_000 => Ok(Duration::from_millis(ms)),
        Ok(_) => Err("expected at least 1s: a host says every third of it that it lives".into()),
        Err(error) => Err(error.to_string()),
    }
}
