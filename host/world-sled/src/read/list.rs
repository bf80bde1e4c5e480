//! Lists: runs that are in several indexes at once, newest first.
//!
//! Every index is gone through downwards, and each skips what the others have already passed: so a list costs no more than
//! the shortest of its indexes, and where the indexes agree no more than what it shows.

use std::collections::BTreeSet;
use std::ops::Range;

use durhai_core::Status;
use durhai_world::{Page, Query, WorldError};

use crate::disk::Disk;
use crate::entries::row_of;
use crate::keys;
use crate::state::State;

/// Entries that are gone through one by one before an index is entered anew, further down.
const NEAR: usize = 4;

/// Where the runs are that a query asks for.
pub struct Plan {
    /// Prefixes of indexes: a run must be under one of each.
    wanted: Vec<Vec<Vec<u8>>>,
    /// The keys must be in one of these, which go downwards.
    ranges: Option<Vec<Range<u64>>>,
}

impl Plan {
    pub fn new(state: &State, query: &Query) -> Self {
        let mut wanted: Vec<Vec<Vec<u8>>> = Vec::new();
        wanted.extend(query.parent.iter().map(|parent| vec![keys::by_parent(parent)]));
        wanted.extend(query.tags.iter().map(|(name, value)| vec![keys::by_tag(name, value)]));
        wanted.extend(query.version.iter().map(|version| vec![keys::by_version(version)]));
        match (&query.workflow, query.status.is_empty()) {
            (None, true) => {}
            (Some(workflow), true) => wanted.push(vec![keys::by_workflow(workflow)]),
            (workflow, false) => {
                let asked = |status: Status, of: &str| {
                    query.status.contains(&status) && workflow.as_ref().is_none_or(|workflow| workflow == of)
                };
                // Of long names only the beginning is in the index.
                let prefixes: BTreeSet<Vec<u8>> = (state.counts.kinds().into_iter())
                    .filter(|(status, of)| asked(*status, of))
                    .map(|(status, of)| keys::by_status(status, of))
                    .collect();
                wanted.push(prefixes.into_iter().collect());
            }
        }
        if wanted.is_empty() {
            wanted.push(vec![vec![keys::ROW]]);
        }
        let ranges = match (query.since, query.until) {
            (None, None) => None,
            (since, until) => Some(state.created.between(since, until)),
        };
        Plan { wanted, ranges }
    }
}

pub fn list(disk: &Disk, query: &Query, plan: &Plan) -> Result<Page, WorldError> {
    let mut before = match &query.cursor {
        None => u64::MAX,
        Some(cursor) => u64::from_str_radix(cursor, 16).map_err(|_| {
            WorldError::Invalid(format!("{cursor:?} is no cursor of this world: take the one a page came with"))
        })?,
    };
    let mut page = Page::default();
    let mut last = before;
    let mut wanted: Vec<AnyOf<'_>> = plan.wanted.iter().map(|any| AnyOf::new(disk, any)).collect();
    let mut ranges = plan.ranges.as_ref().map(|ranges| ranges.iter().peekable());
    while let Some(key) = in_all(&mut wanted, before)? {
        before = key;
        if let Some(ranges) = &mut ranges {
            while ranges.next_if(|range| range.start > key).is_some() {}
            let Some(range) = ranges.peek() else { break };
            if key >= range.end {
                before = range.end;
                continue;
            }
        }
        // A row may go, or change, while we look.
        let Some(row) = row_of(disk, key)?.filter(|row| query.matches(row)) else { continue };
        if page.rows.len() == query.page_size() {
            page.next = Some(format!("{last:x}"));
            break;
        }
        page.rows.push(row);
        last = key;
    }
    Ok(page)
}

/// The highest key below this one that all have.
fn in_all(wanted: &mut [AnyOf<'_>], before: u64) -> Result<Option<u64>, WorldError> {
    let mut candidate = None;
    let mut agreed = 0;
    for at in (0..wanted.len()).cycle() {
        let bound = candidate.map_or(before, |key: u64| key + 1);
        let Some(key) = wanted[at].below(bound)? else { return Ok(None) };
        agreed = if candidate == Some(key) { agreed + 1 } else { 1 };
        candidate = Some(key);
        if agreed == wanted.len() {
            break;
        }
    }
    Ok(candidate)
}

/// Several parts of an index at once. A run that changes while we look may be in two.
struct AnyOf<'a>(Vec<Part<'a>>);

impl<'a> AnyOf<'a> {
    fn new(disk: &'a Disk, prefixes: &[Vec<u8>]) -> Self {
        AnyOf(prefixes.iter().map(|prefix| Part { disk, prefix: prefix.clone(), entered: None }).collect())
    }

    /// The highest key below this one, which is never higher than the one before.
    fn below(&mut self, bound: u64) -> Result<Option<u64>, WorldError> {
        let mut highest = None;
        for part in &mut self.0 {
            highest = highest.max(part.below(bound)?);
        }
        Ok(highest)
    }
}

/// The runs under one prefix.
struct Part<'a> {
    disk: &'a Disk,
    prefix: Vec<u8>,
    entered: Option<Entered<'a>>,
}

struct Entered<'a> {
    /// Newest first.
    keys: Box<dyn Iterator<Item = Result<u64, WorldError>> + 'a>,
    head: Option<u64>,
}

impl Part<'_> {
    fn below(&mut self, bound: u64) -> Result<Option<u64>, WorldError> {
        if let Some(entered) = &mut self.entered {
            for _ in 0..NEAR {
                if entered.head.is_none_or(|head| head < bound) {
                    return Ok(entered.head);
                }
                entered.head = entered.keys.next().transpose()?;
            }
            if entered.head.is_none_or(|head| head < bound) {
                return Ok(entered.head);
            }
        }
        let disk = self.disk;
        let range = keys::under(&self.prefix, 0)..keys::under(&self.prefix, bound);
        let mut keys = disk.range_back(range).map(move |entry| {
            let key = entry?.0;
            keys::last_number(&key).ok_or_else(|| disk.corrupt("an index entry has no key"))
        });
        let head = keys.next().transpose()?;
        self.entered = Some(Entered { keys: Box::new(keys), head });
        Ok(head)
    }
}
