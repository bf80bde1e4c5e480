//! The embedded world of durhai, on sled
