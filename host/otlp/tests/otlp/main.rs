//! A host, an exporter and a collector that keeps what it gets.

mod collector;
mod sending;
mod spans;
