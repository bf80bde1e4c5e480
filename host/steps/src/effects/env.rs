//! The module `env`.

use rhai::{Dynamic, Module};

use super::verdict::give;
use super::{Fallible, Seat, present};
use crate::builtin::env;

pub fn module(seat: &Seat) -> Module {
    let mut module = Module::new();
    let here = seat.clone();
    module.set_native_fn("get", move |name: &str| give(env::get(&present(&here).kit, name)));
    let here = seat.clone();
    module.set_native_fn("get", move |name: &str, default: Dynamic| -> Fallible<Dynamic> {
        let found = give(env::look(&present(&here).kit, name))?;
        Ok(found.map_or(default, Dynamic::from))
    });
    let here = seat.clone();
    module.set_native_fn("has", move |name: &str| give(env::look(&present(&here).kit, name)).map(|it| it.is_some()));
    module.build_index();
    module
}
