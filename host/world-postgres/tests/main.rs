//! The world on servers of one's own.

mod common;
mod conformance;
mod one_process;
mod plans;
mod proxy;
mod refused;
mod transactions;
mod trouble;
