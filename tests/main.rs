//! The tests of durhai as a whole: one binary, scenarios as data where they can be.

mod bad_input;
mod check;
mod crash;
mod delayed;
mod doctor;
mod embed;
mod export;
mod fork;
mod gate;
mod guide;
mod inbox;
mod kill;
mod layers;
mod limits;
mod logs;
mod metrics;
mod operating;
mod retention;
mod rules;
mod scenarios;
mod schedules;
mod spinning;
mod stdlib;
mod telemetry;
mod together;
mod trace;
