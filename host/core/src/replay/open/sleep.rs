//! `sleep` and `sleep_until`.

use crate::Millis;
use crate::replay::call::Wake;
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::timers::{Timer, Timers};
use crate::replay::turn::WaitingFor;
use crate::replay::waits::{Called, Caller, TimerKey, WaitsFor};

/// `clock` is the script's time: what is over by then does not wait.
pub fn call(
    caller: Caller,
    wake: Wake,
    clock: Millis,
    timers: &mut Timers,
    cursor: &mut Cursor,
) -> Result<Called, Stop> {
    let wake_at = match wake {
        Wake::After(0) => return Ok(Called::null()),
        Wake::At(at) if at <= clock => return Ok(Called::null()),
        Wake::After(ms) => cursor.wall().saturating_add(ms),
        Wake::At(at) => at,
    };
    let timer = timers.start(&caller.id, &caller.site, wake_at, Timer::Sleep(caller.task), cursor)?;
    Ok(Called::Wait(WaitsFor::Sleep(timer, caller.id)))
}

pub fn describe(timer: TimerKey, id: &crate::StepId, site: String) -> WaitingFor {
    WaitingFor { until: Some(timer.0), ..WaitingFor::new("sleep", Some(id.clone()), site) }
}
