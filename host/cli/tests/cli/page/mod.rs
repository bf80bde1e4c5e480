//! The page, in a real Chromium, on a real host. Each view leaves a picture in `target/screenshots`.

mod browser;
mod frame;
