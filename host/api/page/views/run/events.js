// What an event says, on one line.

import { brief, duration, moment, short } from "../../lib/format.js";

const because = (error) => `${error.kind}: ${error.message}`.split("\n")[0];

const SAYS = {
  run_created: ({ workflow, version, input }) => `${workflow} ${short(version)} ${brief(input, 80)}`,
  step_started: ({ name, label, attempt, input }) => `${label ? `${label} (${name})` : name}${attempt > 1 ? ` attempt ${attempt}` : ""}${input === undefined ? "" : ` ${brief(input)}`}`,
  step_retrying: ({ attempt, error, retry_at, at }) => `attempt ${attempt} ${because(error)}; again in ${duration(Math.max(0, retry_at - at))}`,
  timer_started: ({ wake_at, at }) => `until ${moment(wake_at)} (${duration(Math.max(0, wake_at - at))})`,
  signal_received: ({ name, payload }) => `${name} ${brief(payload)}`,
  hook_opened: ({ url }) => url,
  hook_conflict: ({ run_id }) => `run ${run_id} has the token`,
  suspended: ({ label, payload }) => `${label ? `${label}: ` : ""}${brief(payload)}`,
  resumed: ({ data }) => brief(data),
  child_started: ({ run_id, name, detached, input }) => `${name} as ${run_id}${detached ? ", detached" : ""} ${brief(input, 80)}`,
  cancel_requested: ({ reason, timed_out }) => (timed_out ? "the run's timeout is over" : reason),
  run_migrated: ({ from, to }) => `${short(from)} → ${short(to)}`,
  run_cancelled: ({ reason }) => reason,
  run_continued: ({ next }) => `as ${next}`,
};

/** An event in short. */
export function words(event) {
  const says = SAYS[event.type];
  if (says) return says(event);
  if (event.error) return because(event.error);
  return brief(event.output ?? event.payload ?? event.data);
}
