//! The module `file`.

use rhai::{Dynamic, Module};

use super::current::{CurrentAttempt, RunningAttempt, running};
use super::thrown::{Fallible, give};
use crate::convert::to_dynamic;
use crate::files::{self, Writer};

pub fn module(current: &CurrentAttempt) -> Module {
    let mut module = Module::new();
    let here = current.clone();
    module.set_native_fn("read", move |path: &str| give(files::read(&running(&here).step_env.permissions, path)));
    let here = current.clone();
    module.set_native_fn("write", move |path: &str, text: &str| {
        let RunningAttempt { caller, step_env, .. } = running(&here);
        let writer = Writer { key: &caller.key, attempt: caller.attempt };
        give(files::write(&step_env.permissions, path, text, writer)).map(|bytes| bytes as i64)
    });
    let here = current.clone();
    module.set_native_fn("append", move |path: &str, text: &str| {
        give(files::append(&running(&here).step_env.permissions, path, text)).map(|bytes| bytes as i64)
    });
    let here = current.clone();
    module.set_native_fn("list", move |path: &str| -> Fallible<Dynamic> {
        let entries = give(files::list(&running(&here).step_env.permissions, path))?;
        let entries = serde_json::to_value(entries).map_err(|error| error.to_string())?;
        Ok(to_dynamic(entries)?)
    });
    let here = current.clone();
    module.set_native_fn("exists", move |path: &str| give(files::exists(&running(&here).step_env.permissions, path)));
    let here = current.clone();
    module.set_native_fn("remove", move |path: &str| give(files::remove(&running(&here).step_env.permissions, path)));
    module.build_index();
    module
}
