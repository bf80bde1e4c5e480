// The rows of a timeline: the run, calls by task, tasks by group, what is closed left out.

import { below, isOpen } from "./model.js";

/** Tasks of one group, and calls of one task, that are shown without being asked for. */
const FEW_TASKS = 40;
const FEW_CALLS = 30;

/**
 * `{ key, kind, depth, … }` in the order they are shown; `kind` is "run", "call" (with `call`; `task` where it is all that
 * its task did), "group" (with `group`) or "task" (with `task`). `chosen` says by key what the user opened or closed.
 */
export function rows(model, chosen) {
  const list = [{ key: "run", kind: "run", depth: 0 }];
  const opened = (key, usual) => chosen.get(key) ?? usual;
  const items = (task, depth) => {
    for (const item of task.items) {
      if (!item.tasks) list.push({ key: item.id, kind: "call", call: item, depth });
      else {
        const open = opened(item.id, item.tasks.length <= FEW_TASKS);
        list.push({ key: item.id, kind: "group", group: item, depth, open });
        if (open) for (const one of item.tasks) branch(one, depth + 1);
      }
    }
  };
  const branch = (task, depth) => {
    if (task.items.length === 1 && !task.items[0].tasks) {
      list.push({ key: task.items[0].id, kind: "call", call: task.items[0], task, depth });
      return;
    }
    const open = opened(task.path, task.items.length <= FEW_CALLS);
    list.push({ key: task.path, kind: "task", task, depth, open });
    if (open) items(task, depth + 1);
  };
  items(model.tasks.get(""), 0);
  return list;
}

/** What has to be open so that a call, a task or a group is seen. */
export function above(id) {
  const parts = id.split(".");
  return parts.slice(0, -1).map((_, at) => parts.slice(0, at + 1).join("."));
}

/** From when to when a group or a task was at work, how many calls it made, and how it ended. */
export function extent(node, now) {
  let from = Infinity;
  let to = 0;
  let calls = 0;
  let worst = "completed";
  for (const call of below(node)) {
    from = Math.min(from, call.from);
    to = Math.max(to, isOpen(call) ? now : call.to);
    if (call !== node.timer) calls += 1;
    if (isOpen(call)) worst = call.state === "asking" || worst === "asking" ? "asking" : call.state === "open" ? worst : "running";
    else if (worst === "completed" && (call.state === "failed" || call.state === "cancelled")) worst = call.state;
  }
  if (from === Infinity) from = to = node.from ?? now;
  return { from, to, calls, state: worst };
}
