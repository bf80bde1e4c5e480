//! The world on servers of one's own.

mod common;
mod conformance;
mod one_process;
mod plans;
mod pooler;
mod proxy;
mod refused;
mod timeouts;
mod tls;
mod transactions;
mod trouble;
