//! The attempt that runs on an engine, for the functions that the engine was given once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use durhai::StepError;
use parking_lot::Mutex;
use rhai::{Dynamic, EvalAltResult, Position};
use tokio::runtime::Handle;

use super::thrown::{self, Fallible};
use crate::attempt::{Caller, Stop};
use crate::program::Program;
use crate::step_env::StepEnv;

/// None while the engine is idle.
pub type CurrentAttempt = Arc<Mutex<Option<RunningAttempt>>>;

#[derive(Clone)]
pub struct RunningAttempt {
    pub program: Arc<Program>,
    pub caller: Arc<Caller>,
    pub stop: Arc<Stop>,
    pub step_env: Arc<StepEnv>,
    pub tokio: Handle,
    /// Requests so far that carried the key of the step.
    pub keyed: Arc<AtomicU32>,
}

pub fn find(current: &CurrentAttempt) -> Option<RunningAttempt> {
    current.lock().clone()
}

/// For the functions of the engine: scripts call them only while an attempt runs.
pub fn running(current: &CurrentAttempt) -> RunningAttempt {
    find(current).expect("a script runs only as a step")
}

/// Waits on this thread for a service or a program, unless the attempt must end before.
pub fn wait_for<T>(current: &CurrentAttempt, work: impl Future<Output = Result<T, StepError>>) -> Fallible<T> {
    let RunningAttempt { stop, tokio, .. } = running(current);
    let outcome = tokio.block_on(async {
        tokio::select! {
            outcome = work => Some(outcome),
            () = stop.ended() => None,
        }
    });
    match outcome {
        Some(outcome) => thrown::give(outcome),
        None => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
    }
}
