//! A walk through all entries of one kind while others are written: no iterator of sled is kept open.

use std::collections::VecDeque;

use durhai_world::WorldError;
use sled::IVec;

use crate::disk::Disk;

/// Entries that are read at a time.
const PAGE: usize = 512;

/// All entries of one kind, read page by page.
pub struct Cursor {
    page: VecDeque<(IVec, IVec)>,
    /// Behind the entry that was given last.
    from: Vec<u8>,
    to: Vec<u8>,
    /// There is nothing behind the page.
    over: bool,
}

impl Cursor {
    pub fn new(tag: u8) -> Self {
        Cursor { page: VecDeque::new(), from: vec![tag], to: vec![tag + 1], over: false }
    }

    /// The entry that comes next.
    pub fn peek(&mut self, disk: &Disk) -> Result<Option<&(IVec, IVec)>, WorldError> {
        if self.page.is_empty() && !self.over {
            for entry in disk.range(self.from.clone()..self.to.clone()).take(PAGE) {
                self.page.push_back(entry?);
            }
            self.over = self.page.len() < PAGE;
        }
        Ok(self.page.front())
    }

    pub fn next(&mut self, disk: &Disk) -> Result<Option<(IVec, IVec)>, WorldError> {
        self.peek(disk)?;
        let entry = self.page.pop_front();
        if let Some((key, _)) = &entry {
            self.from = key.to_vec();
            self.from.push(0);
        }
        Ok(entry)
    }

    /// What comes next is read anew.
    pub fn forget(&mut self) {
        self.page.clear();
        self.over = false;
    }
}
