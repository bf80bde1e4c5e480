// The durable calls of a run, from its events: what one chooses among to fork, and whose results can be others.

import { brief } from "../../lib/format.js";

const RESULTS = new Set(["step_completed", "step_failed", "timer_fired", "signal_received", "hook_opened", "hook_conflict", "hook_received", "resumed", "child_completed", "child_failed"]);
const SETTABLE = new Set(["step_completed", "child_completed", "resumed", "signal_received", "hook_received", "step_failed", "child_failed"]);

/**
 * Gathers calls as events come: `take(events)`, then `list` in the order of their first event. A call is `{ id, name, label, kind, site,
 * first, result, settable, outcome, shown, at }`: `first` and `result` are the numbers of events, `result` 0 while it has none.
 */
export class Calls {
  list = [];
  byId = new Map();

  take(events) {
    for (const event of events) if (event.step_id) this.#event(event);
  }

  #event(event) {
    let call = this.byId.get(event.step_id);
    if (!call) {
      call = { id: event.step_id, name: "", label: null, kind: "step", site: event.site ?? "", first: event.seq, result: 0, settable: 0, outcome: "open", shown: "", at: event.at };
      this.byId.set(call.id, call);
      this.list.push(call);
    }
    const { type } = event;
    if (type === "step_started") (call.name = event.name), (call.label ??= event.label ?? null);
    else if (type === "timer_started") (call.name ||= "sleep"), (call.kind = "timer");
    else if (type === "signal_received") (call.name = event.name), (call.kind = "signal");
    else if (type.startsWith("hook_")) (call.name ||= "hook"), (call.kind = "hook");
    else if (type === "suspended") (call.name = "suspend"), (call.label = event.label ?? null), (call.kind = "question");
    else if (type === "child_started") (call.name = event.name), (call.label = event.label ?? null), (call.kind = "child");
    if (!call.site && event.site) call.site = event.site;
    if (!RESULTS.has(type) && !(type === "child_started" && event.detached)) return;
    call.result = event.seq;
    const error = event.error;
    call.outcome = error ? (error.kind === "cancelled" ? "cancelled" : "failed") : type === "timer_fired" ? "over" : "done";
    if (SETTABLE.has(type) && error?.kind !== "cancelled") call.settable = event.seq;
    call.shown = error ? error.message : brief(event.output ?? event.data ?? event.payload ?? (type === "hook_opened" ? event.url : undefined), 160);
  }

  /** Timers stand for the call they belong to: `places` (of texts.js) knows which one that is. */
  name(places) {
    for (const call of this.list) {
      if (call.kind !== "timer" || call.named) continue;
      call.named = true;
      call.name = places.called(call.site) ?? call.name;
      call.label ??= places.argument(call.site);
    }
  }

  /** How many events a fork takes over: before the first of a call or of what it opened, or up to its result. */
  kept({ at, after }) {
    if (after) return this.byId.get(after)?.result ?? 0;
    const below = `${at}.`;
    let first = Infinity;
    for (const call of this.list) if (call.id === at || call.id.startsWith(below)) first = Math.min(first, call.first);
    return first === Infinity ? 0 : first - 1;
  }
}

/** The value that an event carries as a result; undefined: none. */
export function resultOf(event) {
  return event.output ?? event.data ?? event.payload ?? (event.error ? undefined : null);
}
