//! Gates: who is inside, who waits, and who is next.

use std::collections::{BTreeSet, HashMap};

use durhai_core::RunId;
use durhai_world::{Notice, Place, Queue, WorldError};

use crate::disk::Disk;
use crate::keys;
use crate::state::{Run, State, place_of, row_of, value_of};
use crate::write::Turn;

/// What is known of a gate. While somebody waits there is no room.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub limit: u32,
    pub inside: u64,
    /// Runs that have not ended, wherever they are: as long as there is one, the limit is remembered.
    pub members: u64,
    /// Rank and key.
    pub waiting: BTreeSet<(u32, u64)>,
}

impl Gate {
    fn read(disk: &Disk, name: &str) -> Result<Self, WorldError> {
        let mut gate = match disk.get(keys::named(keys::GATE, name))? {
            Some(value) => Gate::of_value(&value).ok_or_else(|| disk.corrupt(format!("the gate {name:?}")))?,
            None => return Ok(Gate::default()),
        };
        for entry in disk.prefix(keys::queue(name)) {
            gate.waiting.extend(keys::split_waiting(&entry?.0));
        }
        Ok(gate)
    }

    pub fn of_value(value: &[u8]) -> Option<Self> {
        let (limit, rest) = value.split_first_chunk()?;
        let (inside, rest) = rest.split_first_chunk()?;
        let members = rest.first_chunk()?;
        Some(Gate {
            limit: u32::from_be_bytes(*limit),
            inside: u64::from_be_bytes(*inside),
            members: u64::from_be_bytes(*members),
            waiting: BTreeSet::new(),
        })
    }

    pub fn value(&self) -> Vec<u8> {
        let mut value = self.limit.to_be_bytes().to_vec();
        value.extend_from_slice(&self.inside.to_be_bytes());
        value.extend_from_slice(&self.members.to_be_bytes());
        value
    }
}

/// Its rank among those that wait: the higher the priority, the lower.
pub fn rank(gate: &durhai_world::Gate) -> u32 {
    !(gate.priority.cast_unsigned() ^ (1 << 31))
}

impl State {
    fn gate(&mut self, disk: &Disk, name: &str) -> Result<&mut Gate, WorldError> {
        if !self.gates.contains_key(name) {
            self.gates.insert(name.to_owned(), Gate::read(disk, name)?);
        }
        Ok(self.gates.get_mut(name).expect("it is there now"))
    }
}

/// The keys of the runs that are inside, by gate. Only those who ask how a run stands need it, so it is read for the first of
/// them, and kept up to date from then on.
#[derive(Default)]
pub struct Inside(Option<HashMap<String, BTreeSet<u64>>>);

impl Inside {
    fn read(&mut self, disk: &Disk) -> Result<&HashMap<String, BTreeSet<u64>>, WorldError> {
        if self.0.is_none() {
            let mut all: HashMap<String, BTreeSet<u64>> = HashMap::new();
            for entry in disk.prefix([keys::PLACE]) {
                let (name, value) = entry?;
                let Some(key) = keys::last_number(&name).filter(|_| place_of(Some(&value)) == Place::Inside) else {
                    continue;
                };
                if let Some(gate) = row_of(disk, key)?.and_then(|row| row.gate) {
                    all.entry(gate.key).or_default().insert(key);
                }
            }
            self.0 = Some(all);
        }
        Ok(self.0.as_ref().expect("it was read"))
    }

    fn note(&mut self, gate: &str, key: u64, place: Place) {
        let Some(all) = &mut self.0 else { return };
        if place == Place::Inside {
            all.entry(gate.to_owned()).or_default().insert(key);
        } else if let Some(inside) = all.get_mut(gate) {
            inside.remove(&key);
            if inside.is_empty() {
                all.remove(gate);
            }
        }
    }

    /// It may be ahead of the disk: to be read again.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

impl State {
    /// What [`World::queue`](durhai_world::World::queue) gives.
    pub fn queue(&mut self, disk: &Disk, id: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        let found = self.run(disk, id)?.filter(|run| !run.row.status.is_terminal());
        let found = found.and_then(|run| Some((run.key, run.place, run.row.gate.clone()?)));
        self.let_go(id);
        let Some((key, place, its)) = found else { return Ok(None) };
        let gate = self.gate(disk, &its.key)?;
        let (limit, waiting, inside) = (gate.limit, gate.waiting.len() as u64, gate.inside);
        let ahead = match place {
            Place::Waiting => gate.waiting.range(..(rank(&its), key)).count() as u64,
            Place::Away | Place::Inside => 0,
        };
        if waiting == 0 {
            self.gates.remove(&its.key);
        }
        let mut holders = Vec::new();
        for key in self.inside.read(disk)?.get(&its.key).into_iter().flatten().take(most) {
            holders.extend(row_of(disk, *key)?.map(|row| row.run));
        }
        Ok(Some(Queue { gate: its.key, limit, place, ahead, waiting, inside, holders }))
    }
}

impl Turn<'_> {
    /// A new run belongs to its gate. It must be among the runs, as one that is away. If it arrives, it may have the place
    /// of a run that ends with this commit, which that one loses then.
    pub fn join(&mut self, id: &RunId, arrives: bool, ending: Option<&RunId>) -> Result<(), WorldError> {
        let Some(its) = self.state.runs.get(id).and_then(|run| run.row.gate.clone()) else { return Ok(()) };
        let gate = self.touch(&its.key)?;
        gate.limit = its.limit.max(1);
        gate.members += 1;
        let of_gate = |run: &&mut Run| run.row.gate.as_ref().is_some_and(|gate| gate.key == its.key);
        let ending = ending.filter(|_| arrives).and_then(|ending| self.state.runs.get_mut(ending));
        match ending.filter(|run| run.place == Place::Inside).filter(of_gate) {
            Some(ending) => {
                ending.place = Place::Away;
                self.place(id, Place::Inside);
                self.admit(&its.key)
            }
            None if arrives => self.arrive(id),
            None => self.admit(&its.key),
        }
    }

    /// A run that is away comes to its gate: it is inside then, or it waits.
    pub fn arrive(&mut self, id: &RunId) -> Result<(), WorldError> {
        let Some(run) = self.state.runs.get(id) else { return Ok(()) };
        let (key, Some(its), Place::Away) = (run.key, run.row.gate.clone(), run.place) else { return Ok(()) };
        let gate = self.touch(&its.key)?;
        if gate.waiting.is_empty() && gate.inside < u64::from(gate.limit) {
            gate.inside += 1;
            self.place(id, Place::Inside);
        } else {
            gate.waiting.insert((rank(&its), key));
            self.batch.insert(keys::waiting(&its.key, rank(&its), key), &[]);
            self.place(id, Place::Waiting);
        }
        self.admit(&its.key)
    }

    /// A run of the gate has ended; away is also one whose place is another's already.
    pub fn leave(&mut self, its: &durhai_world::Gate, key: u64, place: Place) -> Result<(), WorldError> {
        self.batch.remove(&keys::one(keys::PLACE, key));
        self.state.inside.note(&its.key, key, Place::Away);
        let gate = self.touch(&its.key)?;
        gate.members = gate.members.saturating_sub(1);
        match place {
            Place::Inside => gate.inside = gate.inside.saturating_sub(1),
            Place::Waiting => {
                gate.waiting.remove(&(rank(its), key));
                self.batch.remove(keys::waiting(&its.key, rank(its), key));
            }
            Place::Away => {}
        }
        self.admit(&its.key)
    }

    /// Changes the limit, if there is such a gate.
    pub fn set_limit(&mut self, name: &str, limit: u32) -> Result<(), WorldError> {
        let gate = self.touch(name)?;
        if gate.members == 0 {
            return Ok(());
        }
        gate.limit = limit.max(1);
        self.admit(name)
    }

    /// Lets in those for whom there is room, and stores the gate.
    fn admit(&mut self, name: &str) -> Result<(), WorldError> {
        loop {
            let gate = self.state.gate(self.disk, name)?;
            if gate.inside >= u64::from(gate.limit) {
                break;
            }
            let Some((rank, key)) = gate.waiting.pop_first() else { break };
            self.batch.remove(keys::waiting(name, rank, key));
            // One that waits and is not there is damage, which `verify` reports; here it is only in the way.
            let Some(id) = self.id_of(key)? else { continue };
            self.state.gate(self.disk, name)?.inside += 1;
            self.place(&id, Place::Inside);
            let Some(run) = self.state.runs.get(&id) else { continue };
            if run.fence == 0 {
                run.queue(&mut self.batch);
                self.notices.push(Notice::Due);
                self.passing.push(id);
            }
        }
        let gate = self.state.gate(self.disk, name)?;
        self.empty = false;
        match gate.members {
            0 => self.batch.remove(keys::named(keys::GATE, name)),
            _ => self.batch.insert(keys::named(keys::GATE, name), gate.value()),
        }
        Ok(())
    }

    fn touch(&mut self, name: &str) -> Result<&mut Gate, WorldError> {
        self.gates.push(name.to_owned());
        self.state.gate(self.disk, name)
    }

    /// The run that waits, which is among the runs then.
    fn id_of(&mut self, key: u64) -> Result<Option<RunId>, WorldError> {
        if let Some(row) = row_of(self.disk, key)? {
            return Ok(self.state.run(self.disk, &row.run)?.map(|run| run.row.run.clone()));
        }
        // Not on the disk yet.
        let is = |id: &&RunId| self.state.runs.get(*id).is_some_and(|run| run.key == key);
        Ok(self.passing.iter().find(is).cloned())
    }

    fn place(&mut self, id: &RunId, place: Place) {
        let Some(run) = self.state.runs.get_mut(id) else { return };
        let Run { key, place: ref mut before, .. } = *run;
        *before = place;
        if let Some(gate) = &run.row.gate {
            self.state.inside.note(&gate.key, key, place);
        }
        if let Some(value) = value_of(place) {
            self.batch.insert(&keys::one(keys::PLACE, key), value);
        }
    }
}
