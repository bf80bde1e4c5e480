//! The modules that scripts can import now, and how the text of the program that runs is read.
//!
//! Both are in a thread-local, because Rhai asks for a module without saying who imports it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rhai::{Module, Shared};

/// Modules by path.
pub type Modules = BTreeMap<String, Shared<Module>>;

thread_local! {
    static MODULES: RefCell<Rc<Modules>> = RefCell::default();
    /// How the program that runs is read, see [`Bundle::EDITION`](crate::Bundle::EDITION).
    static EDITION: Cell<u32> = const { Cell::new(1) };
}

/// Keeps what [`enter`] set; dropped, it puts back what was there before.
pub struct Entered {
    modules: Rc<Modules>,
    edition: u32,
}

/// Lets scripts on this thread import `modules`, until what it gives is dropped.
#[must_use]
pub fn enter(modules: Rc<Modules>, edition: u32) -> Entered {
    Entered { modules: MODULES.replace(modules), edition: EDITION.replace(edition) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        MODULES.replace(std::mem::take(&mut self.modules));
        EDITION.set(self.edition);
    }
}

/// The edition of the program that runs; the first where none does.
pub fn edition() -> u32 {
    EDITION.get()
}

pub fn modules() -> Rc<Modules> {
    MODULES.with_borrow(Rc::clone)
}

pub fn module(path: &str) -> Option<Shared<Module>> {
    MODULES.with_borrow(|modules| modules.get(path).cloned())
}
