// Words for rows: what a call, a task or a group is called, and a sentence for those who do not see the bars.

import { duration, moment, number } from "../../../lib/format.js";
import { isOpen } from "./model.js";

const WORDS = {
  running: "running", retrying: "waiting for its next attempt", waiting: "waiting", asking: "waiting for an answer", open: "open",
  completed: "completed", failed: "failed", cancelled: "cancelled", timeout: "timed out", interrupted: "interrupted",
};

export const stateWord = (state) => WORDS[state] ?? state;

/** The name of a call as a row shows it. */
export function nameOf(call, places) {
  if (call.label && call.kind !== "suspend") return call.label;
  switch (call.kind) {
    case "sleep": {
      const called = places?.called(call.site);
      if (called === "wait_for") return `signal ${places.argument(call.site) ?? ""}`.trim();
      if (called === "wait") return "call of a hook";
      return called === "sleep_until" ? "sleep until" : "sleep";
    }
    case "signal": return `signal ${call.name}`;
    case "child": return call.name;
    default: return call.name ?? call.kind;
  }
}

/** The word before the name: what kind of call it is. */
export function kindOf(call) {
  return { step: "", sleep: "", signal: "", hook: "", suspend: "question", child: call.detached ? "detached run" : "child" }[call.kind] ?? "";
}

/** `parallel`, `foreach`, `race`, `task`, `with_timeout`, or `tasks` where the source does not tell. */
export function groupName(group, places) {
  if (group.name || !places) return group.name ?? "tasks";
  const found = around(group.tasks[0], places, group.id.split(".").length);
  group.name = found?.name ?? null;
  return group.name ?? "tasks";
}

/** `a` of a map, `3` else, with the number of the task. */
export function taskName(task, places) {
  if (task.key === undefined && places) task.key = around(task, places, task.group.id.split(".").length)?.key ?? null;
  return task.key ?? String(task.number);
}

/** The call in the source that opened a task: by the site of a call in it, counted from inside. */
function around(task, places, length) {
  const call = first(task);
  if (!call?.site) return null;
  const groups = (call.id.split(".").length - 1) / 2;
  const depth = (length + 1) / 2;
  const calls = places.calls(call.site);
  return calls[calls.length - 1 - (groups - depth)] ?? null;
}

function first(task) {
  for (const item of task.items) {
    if (!item.tasks && item.site) return item;
    const inside = item.tasks && item.tasks.map(first).find(Boolean);
    if (inside) return inside;
  }
  return null;
}

/** `1 task`, `200 tasks` */
export const counted = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;

/** How long, with what goes on counted up to now. */
export const lasted = (one, now) => Math.max(0, (one.to ?? now) - one.from);

/** A row as a sentence. */
export function sentence(row, { name, from, to, state, calls, now }) {
  const took = to === null || to === undefined ? `for ${duration(lasted({ from, to: null }, now))} so far` : `took ${duration(to - from)}`;
  const call = row.call;
  const parts = [name];
  if (row.kind === "group") parts.push(counted(row.group.tasks.length, "task"));
  if (calls !== undefined) parts.push(counted(calls, "call"));
  if (call) parts.push(`call ${call.id}`);
  parts.push(stateWord(state));
  if (call?.attempts?.length > 1) parts.push(`${call.attempts.length} attempts`);
  parts.push(took, `began ${moment(from)}`);
  if (call && isOpen(call) && call.until) parts.push(`until ${moment(call.until)}`);
  if (row.open !== undefined) parts.push(row.open ? "open" : "closed");
  return parts.join(", ");
}
