// What the events of a run say, call by call and task by task. It takes each event once: a long run costs no more than its
// length.

/** Calls by what becomes of them; an open one is `running`, `retrying`, `waiting` or `asking`. */
const OPEN = new Set(["running", "retrying", "waiting", "asking", "open"]);

/** Calls that are cancelled without an event. */
const QUIET = new Set(["sleep", "signal", "suspend"]);

export const isOpen = (call) => OPEN.has(call.state);

/** The task that a call belongs to (`""` is the body, `4.1` the first task that the call 4 opened), and its ordinal there. */
export function split(id) {
  const at = id.lastIndexOf(".");
  return at < 0 ? { path: "", ordinal: Number(id) } : { path: id.slice(0, at), ordinal: Number(id.slice(at + 1)) };
}

export class Model {
  constructor() {
    this.calls = new Map();
    /** By path: `{ path, items, last }`; `items` are calls and groups by ordinal. */
    this.tasks = new Map([["", { path: "", items: [], last: 0 }]]);
    /** What is not part of a call: `{ at, kind, text, seq }`. */
    this.marks = [];
    /** Moments at which something happened, ascending, for the axis; with how many attempts ran from then on. */
    this.moments = [];
    this.running = 0;
    this.seen = 0;
    this.structure = 0;
    this.created = null;
    this.started = null;
    this.ended = null;
    this.end = null;
    this.openCalls = new Set();
    /** Shown because the run waits there; no event says so yet. */
    this.assumed = new Set();
    /** Shown as cancelled because the log goes on without them. */
    this.presumed = new Set();
  }

  /** Takes the events that it has not seen. */
  take(events) {
    for (; this.seen < events.length; this.seen += 1) this.#event(events[this.seen]);
  }

  /**
   * What is waited for now: `wait_for` without a timeout makes no event until the signal is there, and none when its task is
   * cancelled. `sure`: the list is as new as the events.
   */
  waits(list, sure) {
    const all = new Set(list.map(({ step_id: id }) => id));
    for (const call of [...this.presumed]) if (all.has(call.id)) this.#reopen(call);
    if (sure && !this.ended) {
      for (const call of [...this.openCalls]) if (QUIET.has(call.kind) && call.seq && !all.has(call.id)) this.#presume(call, this.moments.at(-1).at);
    }
    const wanted = new Map(list.filter(({ kind, step_id: id }) => id && ["signal", "hook"].includes(kind)).map((wait) => [wait.step_id, wait]));
    for (const id of this.assumed) {
      if (wanted.has(id)) continue;
      this.assumed.delete(id);
      const call = this.calls.get(id);
      if (call && !call.seq && isOpen(call)) this.#remove(call);
    }
    if (this.ended) return;
    for (const [id, wait] of wanted) {
      let call = this.calls.get(id);
      if (call && !isOpen(call)) continue;
      if (!call) {
        call = this.#call(id, { kind: "signal", from: this.#since(id), state: "waiting", seq: 0 });
        this.assumed.add(id);
      }
      const what = wait.kind === "signal" ? { kind: "signal", name: wait.name } : { kind: "signal", label: "call of a hook" };
      Object.assign(call, what, { site: call.site ?? wait.site, until: wait.until ?? call.until });
    }
  }

  /** Where a call began that says so by no event: when its task did the last thing before. */
  #since(id) {
    for (let { path } = split(id); ; path = split(split(path).path).path) {
      const last = this.tasks.get(path)?.last;
      if (last || path === "") return last || this.started || this.created;
    }
  }

  /** Its task was cancelled, as far as can be seen: the log goes on without it. */
  #presume(call, at) {
    this.#close(call, Math.max(at, call.from), "cancelled");
    this.presumed.add(call);
  }

  #reopen(call) {
    this.presumed.delete(call);
    Object.assign(call, { to: null, state: call.kind === "suspend" ? "asking" : "waiting" });
    this.openCalls.add(call);
  }

  /** A task that makes a call is through with the groups before it: who lost a race waits no more. */
  #settle(task, ordinal, at) {
    if (!task.groups?.length) return;
    const over = task.groups.filter((group) => group.ordinal < ordinal);
    if (!over.length) return;
    task.groups = task.groups.filter((group) => group.ordinal >= ordinal);
    for (const group of over) {
      for (const call of below(group)) if (isOpen(call) && QUIET.has(call.kind)) this.#presume(call, at);
    }
  }

  #remove(call) {
    const task = this.tasks.get(split(call.id).path);
    task.items.splice(task.items.indexOf(call), 1);
    this.calls.delete(call.id);
    this.openCalls.delete(call);
    this.structure += 1;
  }

  #call(id, fields) {
    const known = this.calls.get(id);
    if (known) return Object.assign(known, fields);
    const { path, ordinal } = split(id);
    const call = { id, ordinal, name: null, label: null, site: null, to: null, attempts: null, retries: null, marks: null, until: null, ...fields };
    this.calls.set(id, call);
    this.openCalls.add(call);
    const task = this.#task(path);
    const group = find(task.items, ordinal);
    // The timer of `with_timeout` has the id of the group it bounds.
    if (group?.tasks) group.timer = call;
    else insert(task.items, call);
    this.#settle(task, ordinal, fields.from);
    this.structure += 1;
    return call;
  }

  #task(path) {
    let task = this.tasks.get(path);
    if (task) return task;
    const { path: groupId, ordinal: number } = split(path);
    task = { path, number, items: [], last: 0, group: null };
    this.tasks.set(path, task);
    const { path: above, ordinal } = split(groupId);
    const parent = this.#task(above);
    let group = find(parent.items, ordinal);
    if (!group?.tasks) {
      const timer = group ?? null;
      group = { id: groupId, ordinal, tasks: [], timer, from: this.#since(groupId), name: null, site: null };
      if (timer) parent.items[parent.items.indexOf(timer)] = group;
      else insert(parent.items, group);
      this.#settle(parent, ordinal, group.from);
      (parent.groups ??= []).push(group);
    }
    task.group = group;
    insert(group.tasks, task, "number");
    this.structure += 1;
    return task;
  }

  #close(call, at, state) {
    if (this.presumed.has(call)) this.#reopen(call);
    if (!call || !isOpen(call)) return;
    Object.assign(call, { to: at, state });
    this.openCalls.delete(call);
    this.#touch(call.id, at);
  }

  /** The task did something at that moment. */
  #touch(id, at) {
    const task = this.tasks.get(split(id).path);
    if (task) task.last = at;
  }

  #attempt(call, at, more) {
    const attempt = call.attempts?.at(-1);
    if (!attempt || attempt.to !== null) return;
    Object.assign(attempt, { to: at, ...more });
    this.running -= 1;
  }

  #mark(event, kind, text) {
    this.marks.push({ at: event.at, kind, text, seq: event.seq });
  }

  #event(event) {
    const { at, seq, step_id: id, site } = event;
    const call = id ? this.calls.get(id) : null;
    switch (event.type) {
      case "run_created":
        this.created = at;
        break;
      case "run_started":
        // A run that took its log over has a second one.
        this.started ??= at;
        break;
      case "step_started": {
        const step = event.attempt === 1 || !call ? this.#call(id, { kind: "step", name: event.name, label: event.label, site, from: at, state: "running", seq, input: event.input, attempts: [], retries: [] }) : call;
        const retry = step.retries.at(-1);
        if (retry && retry.to > at) retry.to = at;
        step.attempts.push({ number: event.attempt, from: at, to: null, state: "running", seq });
        step.state = "running";
        this.running += 1;
        this.#touch(id, at);
        break;
      }
      case "step_retrying":
        if (!call) break;
        this.#attempt(call, at, { state: event.error.kind === "interrupted" ? "interrupted" : "failed", error: event.error });
        call.retries.push({ from: at, to: Math.max(at, event.retry_at) });
        call.state = "retrying";
        call.until = event.retry_at;
        break;
      case "step_completed":
      case "step_failed": {
        if (!call) break;
        const state = event.type === "step_completed" ? "completed" : event.error.kind === "cancelled" ? "cancelled" : event.error.kind === "timeout" ? "timeout" : "failed";
        const retry = call.retries?.at(-1);
        if (retry && retry.to > at) retry.to = at;
        this.#attempt(call, at, { state, error: event.error });
        Object.assign(call, { output: event.output, error: event.error, done: seq });
        this.#close(call, at, state);
        break;
      }
      case "timer_started":
        this.#call(id, { kind: call?.kind ?? "sleep", site, from: call?.from ?? at, state: call?.state ?? "waiting", seq, until: event.wake_at });
        this.#touch(id, at);
        break;
      case "timer_fired":
        if (call) this.#close(call, at, call.kind === "sleep" ? "completed" : "timeout");
        if (call) call.fired = true;
        break;
      case "signal_received":
        if (id) {
          const wait = this.#call(id, { kind: "signal", name: event.name, from: call?.from ?? this.#since(id), state: "waiting", seq: call?.seq || seq, output: event.payload, done: seq });
          this.#close(wait, at, "completed");
        }
        this.#mark(event, "signal", `signal ${event.name}${id ? "" : ", kept until it is asked for"}`);
        break;
      case "hook_opened":
        this.#call(id, { kind: "hook", name: "hook", from: at, state: "open", seq, url: event.url, token: event.token });
        this.#touch(id, at);
        break;
      case "hook_conflict":
        this.#close(this.#call(id, { kind: "hook", name: "hook", from: at, state: "open", seq, error: { kind: "hook_conflict", message: `run ${event.run_id} has the token` } }), at, "failed");
        break;
      case "hook_received":
        if (call) (call.marks ??= []).push({ at, seq, kind: "signal", text: "a call of the hook" });
        break;
      case "hook_closed":
        this.#close(call, at, "completed");
        break;
      case "suspended":
        this.#call(id, { kind: "suspend", name: event.label ?? "a person is asked", site, from: at, state: "asking", seq, input: event.payload, until: event.wake_at ?? null });
        this.#touch(id, at);
        break;
      case "resumed":
        if (call) Object.assign(call, { output: event.data, done: seq });
        this.#close(call, at, "completed");
        break;
      case "child_started":
        this.#call(id, { kind: "child", name: event.name, label: event.label, site, from: at, state: "waiting", seq, input: event.input, run_id: event.run_id, detached: event.detached });
        this.#touch(id, at);
        if (event.detached) this.#close(this.calls.get(id), at, "completed");
        break;
      case "child_completed":
      case "child_failed":
        if (!call) break;
        Object.assign(call, { output: event.output, error: event.error, done: seq });
        this.#close(call, at, event.type === "child_completed" ? "completed" : event.error.kind === "cancelled" ? "cancelled" : "failed");
        break;
      case "cancel_requested":
        for (const open of [...this.openCalls]) if (QUIET.has(open.kind)) this.#presume(open, at);
        this.#mark(event, "cancel", event.timed_out ? "the run's timeout is over" : `cancel requested${event.reason ? `: ${event.reason}` : ""}`);
        break;
      case "run_migrated":
        this.#mark(event, "migrate", `moved from ${event.from.slice(0, 8)} to ${event.to.slice(0, 8)}`);
        break;
      case "run_completed":
      case "run_failed":
      case "run_cancelled":
      case "run_continued":
        this.ended = at;
        this.end = event.type.slice(4);
        for (const open of [...this.openCalls]) {
          this.#attempt(open, at, { state: "cancelled" });
          this.#close(open, at, open.kind === "hook" && open.seq ? "completed" : "cancelled");
        }
        break;
    }
    const last = this.moments.at(-1);
    // Several events of one moment are one.
    if (last?.at === at) last.busy = this.running;
    else this.moments.push({ at, busy: this.running });
  }
}

/** All calls below a group or a task. */
export function* below(node) {
  if (node.timer) yield node.timer;
  for (const item of node.tasks ?? node.items) {
    if (item.tasks || item.items) yield* below(item);
    else yield item;
  }
}

function find(items, ordinal) {
  const at = items.at(-1)?.ordinal === ordinal ? items.length - 1 : bound(items, ordinal, "ordinal");
  return items[at]?.ordinal === ordinal ? items[at] : null;
}

function insert(items, item, by = "ordinal") {
  if (!items.length || items.at(-1)[by] < item[by]) items.push(item);
  else items.splice(bound(items, item[by], by), 0, item);
}

function bound(items, value, by) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle][by] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
