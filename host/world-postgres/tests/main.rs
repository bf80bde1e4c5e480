//! The world on servers of one's own.

mod common;
mod conformance;
mod plans;
mod transactions;
mod trouble;
