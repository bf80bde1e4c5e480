//! Whether the host does its work.

use crate::shared::Shared;
use crate::view::Health;

/// See [`Host::health`](crate::Host::health).
pub(crate) fn health(host: &Shared) -> Health {
    let failure = host.life.failure().map(|error| error.to_string());
    let error = failure.or_else(|| hindrance(host));
    let warnings = host.versions.gone().into_iter().chain(host.steps.misconfigured.list()).collect();
    Health { ok: error.is_none() && !host.life.is_stopping(), error, warnings }
}

/// Why nothing goes on here at this moment, in a world that is shared: it goes on by itself.
fn hindrance(host: &Shared) -> Option<String> {
    let lease = &host.store.lease;
    if !lease.is_shared() || host.life.is_stopping() {
        return None;
    }
    let (_, epoch) = lease.identity();
    let seconds = |time: std::time::Duration| format!("{:.1} s", time.as_secs_f64());
    let length = seconds(lease.length());
    if lease.trusts(epoch).is_none() {
        return Some(match lease.age() {
            None => {
                "the world has not heard of this host yet: it takes up no runs and begins no steps until it has".into()
            }
            Some(_) if lease.is_renamed() => format!(
                "the other hosts have declared this one dead, as it was not heard of for longer than its lease ({length}): its runs go on \
                 elsewhere, and it goes on under another name as soon as the world has heard of that"
            ),
            Some(age) => format!(
                "the world has not heard of this host for {}, and its lease is {length}: it begins no steps until it is heard of, and \
                 another host may take over its runs",
                seconds(age)
            ),
        });
    }
    let silence = host.store.reach.is_away()?;
    Some(format!(
        "the world has not answered for {}: runs stand still until it does, and nothing is lost",
        seconds(silence)
    ))
}
