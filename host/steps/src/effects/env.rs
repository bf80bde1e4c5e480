//! The module `env`.

use rhai::{Dynamic, Module};

use super::current::{CurrentAttempt, running};
use super::thrown::{Fallible, give};
use crate::builtin::env;

pub fn module(current: &CurrentAttempt) -> Module {
    let mut module = Module::new();
    let here = current.clone();
    module.set_native_fn("get", move |name: &str| give(env::get(&running(&here).step_env, name)));
    let here = current.clone();
    module.set_native_fn("get", move |name: &str, default: Dynamic| -> Fallible<Dynamic> {
        let found = give(env::look(&running(&here).step_env, name))?;
        Ok(found.map_or(default, Dynamic::from))
    });
    let here = current.clone();
    module
        .set_native_fn("has", move |name: &str| give(env::look(&running(&here).step_env, name)).map(|it| it.is_some()));
    module.build_index();
    module
}
