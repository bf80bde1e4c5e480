//! The services that the examples in `scripts/` talk to: a catalogue, a warehouse, and a shop with stock, payments,
//! parcels and mail. They fail on purpose, by rule and never by chance, and tell at `/journal` what they were asked.
//!
//! ```sh
//! cargo run -p durhai-steps --example services -- --listen 127.0.0.1:9900
//! ```

mod demo;

use std::net::SocketAddr;

use demo::{Options, serve};
use tokio::net::TcpListener;

const USAGE: &str = "usage: services [--listen 127.0.0.1:9900] [--products 500] [--retry-after SECONDS]";

#[tokio::main]
async fn main() {
    if let Err(why) = run().await {
        eprintln!("{why}");
        std::process::exit(2);
    }
}

async fn run() -> Result<(), String> {
    let (listen, options) = arguments(std::env::args().skip(1))?;
    if !listen.ip().is_loopback() {
        return Err(format!("{listen} is not on this machine: the services are for 127.0.0.1 and ::1 only"));
    }
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("serving http://{address}/ · what was asked: http://{address}/journal");
    serve(listener, options).await.map_err(|error| error.to_string())
}

fn arguments(words: impl Iterator<Item = String>) -> Result<(SocketAddr, Options), String> {
    let (mut listen, mut options) = (SocketAddr::from(([127, 0, 0, 1], 9900)), Options::default());
    let mut words = words;
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        let wrong = || format!("{word} {value}: that cannot be read\n{USAGE}");
        match word.as_str() {
            "--listen" => listen = value.parse().map_err(|_| wrong())?,
            "--products" => options.products = value.parse().map_err(|_| wrong())?,
            "--retry-after" => options.retry_after = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("{word} is not known\n{USAGE}")),
        }
    }
    Ok((listen, options))
}
