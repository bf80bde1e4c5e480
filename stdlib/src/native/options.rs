//! What modules written in Rhai need to read their options.

use rhai::{Array, Dynamic, Engine, Map};

use super::Thrown;
use super::args::{self, wrong};

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("__std_options", |function: &str, value: Dynamic, known: Array| -> Result<Map, Thrown> {
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            args::options(function, &value, &known.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .register_fn("__std_count", |what: &str, value: Dynamic, least: i64, most: i64| -> Result<i64, Thrown> {
            args::count(what, &value, least, most).map(|count| count as i64)
        })
        .register_fn("__std_number", |what: &str, value: Dynamic, least: f64, most: f64| -> Result<f64, Thrown> {
            match args::number(what, &value)? {
                number if (least..=most).contains(&number) => Ok(number),
                _ => wrong(what, &format!("a number from {least} to {most}"), &value),
            }
        })
        .register_fn("__std_millis", |what: &str, value: Dynamic| -> Result<i64, Thrown> {
            match super::time::millis(what, &value)? {
                ms @ 0.. => Ok(ms),
                _ => wrong(what, "a duration that is not negative", &value),
            }
        })
        .register_fn("__std_array", |what: &str, value: Dynamic| -> Result<(), Thrown> {
            if value.is_array() { Ok(()) } else { wrong(what, "an array", &value) }
        })
        .register_fn("__std_closure", |what: &str, value: Dynamic| -> Result<(), Thrown> {
            if value.is_fnptr() { Ok(()) } else { wrong(what, "a closure like |x| …", &value) }
        })
        .register_fn("__std_wrong", |what: &str, expected: &str, value: Dynamic| -> Result<(), Thrown> {
            wrong(what, expected, &value)
        });
}
