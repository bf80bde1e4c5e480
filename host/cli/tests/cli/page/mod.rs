//! The page, in a real Chromium, on a real host. Each view leaves a picture in `target/screenshots`.

mod acting;
mod browser;
mod embedded;
mod frame;
mod hostile;
mod hosting;
mod hosts;
mod listing;
mod panels;
mod saving;
mod site;
mod starting;
mod webdriver;
