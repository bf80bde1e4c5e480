//! The world, and what a host keeps in it.

pub(crate) mod access;
pub(crate) mod meta;
pub(crate) mod payload;
pub(crate) mod random;
pub(crate) mod reach;
pub(crate) mod retrying;
pub(crate) mod rows;
pub(crate) mod run_view;
pub(crate) mod streams;
