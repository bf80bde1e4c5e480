//! What a graph consists of.

use durhai_core::Site;

/// What a workflow may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    pub name: String,
    /// By their index; those of a group need not stand together.
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub shape: Shape,
    pub label: String,
    pub group: Option<usize>,
    /// Where the call stands; for what leaves events only.
    pub site: Option<Site>,
    pub mark: Option<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Start,
    End,
    /// An error that the script does not catch.
    Throw,
    Step,
    /// A timer, a signal, a person, a request.
    Wait,
    /// Another workflow.
    Child,
    /// A condition.
    Choice,
    Loop,
    /// Where tasks begin, or come together.
    Fork,
    Catch,
    /// Any other call that is shown.
    Call,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub label: String,
    pub kind: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    On,
    /// To the next round of a loop.
    Back,
    /// An error on its way to its `catch`, or a task that the script does not wait for.
    Aside,
}

/// A frame around nodes and other groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub label: String,
    pub parent: Option<usize>,
}

/// What became of the calls at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    pub done: u32,
    pub failed: u32,
    /// Begun and not ended: it waits.
    pub open: u32,
}

impl Mark {
    /// Nothing came here.
    pub fn is_untouched(self) -> bool {
        self == Mark::default()
    }
}
