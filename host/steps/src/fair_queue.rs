//! A queue that serves runs in rotation: one that asks for thousands of attempts at once does not make the others wait for
//! all of them.

use std::collections::{HashMap, VecDeque};

/// What waits, by run. The runs that have something in it are served in rotation, the items of one run in their order.
pub struct FairQueue<T> {
    waiting: HashMap<String, VecDeque<T>>,
    /// Each run that has something waiting, once.
    next: VecDeque<String>,
    count: usize,
}

impl<T> FairQueue<T> {
    pub fn push(&mut self, run: &str, item: T) {
        self.count += 1;
        match self.waiting.get_mut(run) {
            Some(items) => items.push_back(item),
            None => {
                self.waiting.insert(run.to_owned(), VecDeque::from([item]));
                self.next.push_back(run.to_owned());
            }
        }
    }

    pub fn pop(&mut self) -> Option<T> {
        let run = self.next.pop_front()?;
        let items = self.waiting.get_mut(&run)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.waiting.remove(&run);
        } else {
            self.next.push_back(run);
        }
        self.count -= usize::from(item.is_some());
        item
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn clear(&mut self) {
        *self = FairQueue::default();
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        FairQueue { waiting: HashMap::new(), next: VecDeque::new(), count: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_turns() {
        let mut line = FairQueue::default();
        for n in 0..4 {
            line.push("many", format!("many {n}"));
        }
        line.push("one", "one 0".into());
        line.push("two", "two 0".into());
        line.push("two", "two 1".into());
        let mut order = Vec::new();
        while let Some(item) = line.pop() {
            order.push(item);
            if order.len() == 3 {
                line.push("late", "late 0".into());
            }
        }
        assert_eq!(order, ["many 0", "one 0", "two 0", "many 1", "two 1", "late 0", "many 2", "many 3"]);
        assert_eq!(line.len(), 0);
        assert!(line.waiting.is_empty() && line.next.is_empty(), "nothing stays of runs that have nothing in it");
    }
}
