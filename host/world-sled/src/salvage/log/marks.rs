//! Up to where sled's log was on the disk, by the marks of the journal in it.

use std::collections::BTreeMap;

use super::bytes::found;
use super::{HEADER, LONGEST, SEGMENT};
use crate::disk::Mark;
use crate::salvage::page;

/// The marks that were found.
#[derive(Default)]
pub struct Marks {
    /// Each where it stands, with the page.
    found: BTreeMap<u64, (u64, Vec<u8>)>,
    /// The first page of all, in which they are.
    first: Option<u64>,
}

impl Marks {
    /// Looks at the messages of a segment, up to the first that is none.
    pub fn take(&mut self, bytes: &[u8]) {
        let mut at = HEADER;
        while at + LONGEST <= SEGMENT
            && let Some(message) = found(bytes, at)
        {
            let number = message.segment.saturating_mul(SEGMENT as u64) + at as u64;
            let body = &bytes[message.body.clone()];
            let mark = match message.kind {
                8 => page::first_leaf(body).map(|leaf| {
                    self.first = Some(message.page);
                    leaf.get(Mark::KEY).map(<[u8]>::to_vec)
                }),
                10 => page::change_of(body)
                    .map(|change| change.and_then(|(key, value)| value.filter(|_| key == Mark::KEY))),
                _ => None,
            };
            if let Some(Some(mark)) = mark
                && Mark::of_value(&mark).is_some()
            {
                self.found.insert(number, (message.page, mark));
            }
            if message.kind == 2 {
                break;
            }
            at = message.body.end;
        }
    }

    /// What was written before the last mark but one is on the disk: all of it was waited for, before that mark was written, and again
    /// before the last one was. Before the last one a reader may have let sled write something that was not.
    pub fn stable(&self) -> u64 {
        let its = |page: u64| self.first.is_none_or(|first| first == page);
        let mut distinct: Vec<(u64, &[u8])> = Vec::new();
        // Later it may stand in states of its page that were written meanwhile.
        for (number, (page, mark)) in &self.found {
            if its(*page) && distinct.last().is_none_or(|(_, last)| *last != &mark[..]) {
                distinct.push((*number, mark));
            }
        }
        distinct.iter().rev().nth(1).or(distinct.last()).map_or(0, |(number, _)| *number)
    }
}
