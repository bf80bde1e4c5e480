//! `durhai serve`.

use std::path::PathBuf;

use clap::Args;

use super::{Allow, Observing};

#[derive(Debug, Args)]
pub struct Serve {
    /// The folder with the scripts; the same as --scripts.
    pub dir: Option<PathBuf>,
    /// Where the API listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7788")]
    pub listen: String,
    /// Where runs live: `sled:PATH` or `memory:`. Default: `store` in the data folder.
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
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
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1G")]
    pub script_memory: u64,
    /// Memory that the script of one run may hold; one that holds more fails with `limit`.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "256M")]
    pub run_memory: u64,
}

/// Bytes, with K, M or G for powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("{unit:?} is no unit of memory; there are K, M and G, as in 256M")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("found {text:?}, expected a size like 256M or 2G"))?;
    match count.checked_mul(1 << shift) {
        Some(bytes) if bytes >= 1 << 20 => Ok(bytes),
        Some(_) => Err("the least is 1M".into()),
        None => Err(format!("{text} is more than there are addresses")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("1048576", Ok(1 << 20)), ("256M", Ok(256 << 20)), ("2GiB", Ok(2 << 30)), ("4096k", Ok(4 << 20))]
        {
            assert_eq!(size(text), bytes, "{text}");
        }
        for text in ["", "M", "-1M", "1.5G", "1T", "12K", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
