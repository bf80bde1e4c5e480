//! The module `file`.

use rhai::{Dynamic, Module};

use super::verdict::give;
use super::{Fallible, Seat, Sitting, present};
use crate::convert::to_dynamic;
use crate::files::{self, Writer};

pub fn module(seat: &Seat) -> Module {
    let mut module = Module::new();
    let here = seat.clone();
    module.set_native_fn("read", move |path: &str| give(files::read(&present(&here).kit.permissions, path)));
    let here = seat.clone();
    module.set_native_fn("write", move |path: &str, text: &str| {
        let Sitting { caller, kit, .. } = present(&here);
        let writer = Writer { key: &caller.key, attempt: caller.attempt };
        give(files::write(&kit.permissions, path, text, writer)).map(|bytes| bytes as i64)
    });
    let here = seat.clone();
    module.set_native_fn("append", move |path: &str, text: &str| {
        give(files::append(&present(&here).kit.permissions, path, text)).map(|bytes| bytes as i64)
    });
    let here = seat.clone();
    module.set_native_fn("list", move |path: &str| -> Fallible<Dynamic> {
        let entries = give(files::list(&present(&here).kit.permissions, path))?;
        let entries = serde_json::to_value(entries).map_err(|error| error.to_string())?;
        Ok(to_dynamic(entries)?)
    });
    let here = seat.clone();
    module.set_native_fn("exists", move |path: &str| give(files::exists(&present(&here).kit.permissions, path)));
    let here = seat.clone();
    module.set_native_fn("remove", move |path: &str| give(files::remove(&present(&here).kit.permissions, path)));
    module.build_index();
    module
}
