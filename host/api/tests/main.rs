//! The API, as clients use it. One binary: what the tests share is compiled once, and all of it is used.

mod asking;
mod common;
mod description;
mod embedded;
mod exact;
mod fuzz;
mod keeping;
mod live;
mod looking;
mod outside;
mod resuming;
mod routes;
mod security;
mod shown;
mod unavailable;
mod versions;
