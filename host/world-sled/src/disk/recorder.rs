//! Keeps what is written while a copy is made, for the copy to take.

use durhai_world::WorldError;
use parking_lot::Mutex;

use crate::batch::Change;

/// Bytes written meanwhile that wait until the copy takes them, at most.
const BEHIND: usize = 256 << 20;

/// What is written while a copy is made.
pub struct Recording<'a> {
    recorder: &'a Mutex<Option<Recorder>>,
}

impl<'a> Recording<'a> {
    pub fn begin(recorder: &'a Mutex<Option<Recorder>>) -> Result<Self, WorldError> {
        let mut recording = recorder.lock();
        if recording.is_some() {
            return Err(WorldError::Unavailable(
                "a copy of this store is being made already, and one at a time can be: try again later".into(),
            ));
        }
        *recording = Some(Recorder::default());
        Ok(Recording { recorder })
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.recorder.lock().as_ref().map_or(0, Recorder::bytes)
    }

    /// Takes what was written since the last time.
    pub fn take(&self) -> Result<Vec<Change>, WorldError> {
        let mut recorder = self.recorder.lock();
        recorder.as_mut().map_or(Ok(Vec::new()), Recorder::take)
    }

    /// The same, and nothing is recorded any more.
    pub fn end(self) -> Result<Vec<Change>, WorldError> {
        let recorder = self.recorder.lock().take();
        recorder.map_or(Ok(Vec::new()), |mut recorder| recorder.take())
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.recorder.lock().take();
    }
}

/// The changes that the copy has not taken yet.
#[derive(Default)]
pub struct Recorder {
    changes: Vec<Change>,
    bytes: usize,
    overflowed: bool,
}

impl Recorder {
    pub fn add(&mut self, changes: Vec<Change>) {
        if self.overflowed {
            return;
        }
        for (key, value) in &changes {
            self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len()) + 64;
        }
        self.changes.extend(changes);
        if self.bytes > BEHIND {
            *self = Recorder { overflowed: true, ..Recorder::default() };
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn take(&mut self) -> Result<Vec<Change>, WorldError> {
        if self.overflowed {
            return Err(WorldError::Unavailable(format!(
                "the copy was given up: {} MiB were written while whoever takes it was busy; try again, with a faster \
                 place to put it or at a quieter time",
                BEHIND >> 20
            )));
        }
        self.bytes = 0;
        Ok(std::mem::take(&mut self.changes))
    }
}
