//! Takes up runs that are due and that no host holds: timers of evicted runs, messages, runs of hosts that died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai_core::Millis;
use durhai_world::{Claim, WorldError};

use crate::runtime::away::Away;
use crate::runtime::claims;
use crate::runtime::command::WorkerCommand;
use crate::runtime::lease::OwnClaim;
use crate::shared::Shared;
use crate::store::{random, rows};

/// Claims at a time.
const CLAIMS: usize = 256;

/// The longest sleep: worlds that other hosts write to may not tell.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The sleep after a look that found nothing although the world says that something is due.
const FLOOR: Duration = Duration::from_millis(50);

/// Runs until the host has stopped: while its workers end, it must live for the others.
pub(crate) fn run(host: &Arc<Shared>) {
    // Nothing may be claimed before the first renewal: if the clock went on since a run was created here, this host would
    // take it from itself.
    let mut renewed: Option<(Millis, Instant)> = None;
    let mut away = Away::new("claiming runs");
    while !host.life.is_drained() {
        let timeout = match look(host, &mut renewed) {
            Ok(timeout) => {
                away.answered();
                timeout
            }
            Err(error) if host.is_away(&error) => away.failed(&error),
            Err(error) => return host.fail(Arc::new(error)),
        };
        host.runtime.claimer.wait(timeout);
    }
}

/// Says that this host lives, where it is time for that, and takes up what is due. How long nothing else is to be done.
fn look(host: &Arc<Shared>, renewed: &mut Option<(Millis, Instant)>) -> Result<Duration, WorldError> {
    let now = host.store.clock.now();
    let beat = host.store.lease.beat();
    let late = |(at, sent): (Millis, Instant)| now >= at + beat.as_millis() as Millis || sent.elapsed() >= beat;
    if renewed.is_none_or(late) {
        *renewed = None;
        let sent = Instant::now();
        if !renew(host, now)? {
            return Ok(Duration::ZERO);
        }
        *renewed = Some((now, sent));
    }
    let timeout = LOOK_AGAIN.min(beat);
    if host.life.is_stopping() {
        return Ok(timeout);
    }
    if !host.config.adopt {
        return Ok(timeout.min(claim_own(host, now)?));
    }
    let (holder, epoch) = host.store.lease.identity();
    let asked = Instant::now();
    let claims = host.store.world.claim(&holder, now, CLAIMS)?;
    host.observe.meters.claim.time(asked.elapsed());
    let (none, full) = (claims.is_empty(), claims.len() == CLAIMS);
    for claim in claims {
        note(host, &claim, now);
        match claim.admitted {
            true => claims::adopt(host, OwnClaim { claim, epoch }, None),
            false => claims::end_soon(host, claim),
        }
    }
    if full {
        return Ok(Duration::ZERO);
    }
    Ok(match host.store.world.next_wake()? {
        // It is due, and was not given out: it would be asked for again and again.
        Some(at) if none && at <= now => timeout.min(FLOOR),
        Some(at) => timeout.min(host.store.clock.time_until(at)),
        None => timeout,
    })
}

/// Tells the world that this host lives. `false`: the others have declared it dead, and it begins anew under another name.
fn renew(host: &Arc<Shared>, now: Millis) -> Result<bool, WorldError> {
    let sent = Instant::now();
    let holder = host.store.lease.holder();
    if say_alive(host, now)? {
        host.store.lease.renewed(sent);
        // That was a look at the others, too: one of them may have been declared dead.
        host.runtime.wake_refused();
        return Ok(true);
    }
    tracing::warn!(
        host = &*holder.name,
        "this host was not heard of for longer than its lease ({:?}), and the others have declared it dead: it drops the runs it had, \
         which any host takes up again, and goes on under another name",
        host.store.lease.length()
    );
    host.store.lease.begin_anew(random::host_name()?);
    // What was claimed under the new name meanwhile stays.
    host.runtime.workers.send_all(|| WorkerCommand::Reset);
    host.runtime.delayed.drop_lost(&host.store.lease);
    Ok(false)
}

/// Says that this host lives, hears whether the others take it for alive, and what time it is for the world.
pub(crate) fn say_alive(host: &Shared, now: Millis) -> Result<bool, WorldError> {
    let sent = Instant::now();
    let renewed = host.store.world.renew(&host.store.lease.holder(), now)?;
    if let (Some(clock), Some(now)) = (&host.store.followed, renewed.now) {
        clock.hear(now, sent.elapsed());
    }
    Ok(renewed.alive)
}

/// A run was claimed because it was due: by its own timer, or 0 for what cannot wait.
fn note(host: &Shared, claim: &Claim, now: Millis) {
    host.observe.meters.claimed.inc();
    if let Some(due) = claim.row.wake_at.filter(|due| (1..=now).contains(due)) {
        host.observe.meters.timer_lag.record(now - due);
    }
}

/// Looks after the runs that this host created and that could not begin at once, where it takes up no others. How long
/// until one of them may be due.
fn claim_own(host: &Arc<Shared>, now: Millis) -> Result<Duration, WorldError> {
    let own: Vec<_> = host.runtime.own.lock().iter().cloned().collect();
    let mut timeout = LOOK_AGAIN;
    for run in own {
        let row = host.store.world.row(&run)?;
        let over = row.as_ref().is_none_or(|row| row.status.is_terminal());
        let due = row.and_then(|row| row.wake_at).unwrap_or(0);
        if !over && (due > now || host.store.world.waits(&run)?) && !rows::is_urgent(&*host.store.world, &run)? {
            // The run that gives its place free rings the bell.
            timeout = timeout.min(if due > now { host.store.clock.time_until(due) } else { LOOK_AGAIN });
            continue;
        }
        let (holder, epoch) = host.store.lease.identity();
        let claim = if over { None } else { host.store.world.claim_run(&run, &holder, now)? };
        match claim {
            Some(claim) if !claim.admitted => match rows::is_urgent(&*host.store.world, &run) {
                Ok(true) => {
                    host.runtime.own.lock().remove(&run);
                    claims::end_soon(host, claim);
                }
                not => {
                    // It is looked at again only when it is free. What comes of this the next write will hear, too.
                    let _ = host.tokio.block_on(claims::release(host, &claim));
                    not?;
                }
            },
            claim => {
                // Taken here, or by another host.
                host.runtime.own.lock().remove(&run);
                claim.into_iter().for_each(|claim| claims::adopt(host, OwnClaim { claim, epoch }, None));
            }
        }
    }
    Ok(timeout)
}
