//! The module `http`.

use std::sync::atomic::Ordering;

use durhai::{StepError, Value};
use reqwest::Method;
use rhai::{Dynamic, Map, Module};

use super::current::{CurrentAttempt, RunningAttempt, running, wait_for};
use super::thrown::{Fallible, give};
use crate::convert::{to_dynamic, to_json};
use crate::http::{self, Request};

pub fn module(current: &CurrentAttempt) -> Module {
    let mut module = Module::new();
    for (name, method) in [
        ("get", Method::GET),
        ("post", Method::POST),
        ("put", Method::PUT),
        ("patch", Method::PATCH),
        ("delete", Method::DELETE),
        ("head", Method::HEAD),
    ] {
        let (here, fixed) = (current.clone(), method.clone());
        module.set_native_fn(name, move |url: &str| send(&here, fixed.clone(), url, Map::new()));
        let here = current.clone();
        module.set_native_fn(name, move |url: &str, options: Map| send(&here, method.clone(), url, options));
    }
    let here = current.clone();
    module.set_native_fn("request", move |method: &str, url: &str| {
        send(&here, give(http::method(method))?, url, Map::new())
    });
    let here = current.clone();
    module.set_native_fn("request", move |method: &str, url: &str, options: Map| {
        send(&here, give(http::method(method))?, url, options)
    });
    module.build_index();
    module
}

fn send(current: &CurrentAttempt, method: Method, url: &str, options: Map) -> Fallible<Dynamic> {
    let RunningAttempt { step_env, caller, keyed, .. } = running(current);
    let mut input = to_json(&options.into())?;
    if let Value::Object(options) = &mut input
        && options.insert("url".into(), url.into()).is_some()
    {
        return give(Err(StepError::fatal("the URL is the first argument: the options must not have `url` as well")));
    }
    let mut request = give(Request::read(&step_env, Some(method), input))?;
    give(request.traced(&caller.traceparent))?;
    // The same request of the next attempt has the same key, as long as the script sends them in the same order.
    let key = match request.wants_key() {
        true => match keyed.fetch_add(1, Ordering::Relaxed) {
            0 => caller.key.clone(),
            before => format!("{}/{}", caller.key, before + 1),
        },
        false => String::new(),
    };
    let response = wait_for(current, http::send(&step_env, request, &key))?;
    Ok(to_dynamic(response.into_value())?)
}
