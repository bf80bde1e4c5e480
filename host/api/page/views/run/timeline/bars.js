// Bars on a track. Their places are percentages of what is seen of the axis, so that a track may have any width.

import { h, styles } from "../../../lib/dom.js";
import { below, isOpen } from "./model.js";

/** Bars drawn in one lane. */
const MOST = 600;

/** What of the axis is seen: `place(ms)` in percent. */
export class Window {
  constructor(scale, from, to, pixels, now) {
    Object.assign(this, { scale, from, to, pixels, now, size: to - from });
  }

  place(ms) {
    return ((this.scale.at(ms) - this.from) / this.size) * 100;
  }
}

function bar(window, from, to, kind, state) {
  const left = Math.max(window.place(from), -1);
  const right = Math.min(window.place(to), 101);
  if (right < -0.5 || left > 100.5) return null;
  const node = h("span", { class: `bar ${kind} ${state}` });
  styles(node, { left: `${left}%`, width: `${Math.max(0, right - left)}%` });
  return node;
}

function mark(window, { at, kind, seq }) {
  const left = window.place(at);
  if (left < -0.5 || left > 100.5) return null;
  const node = h("span", { class: `bar-mark ${kind}`, dataset: { seq } });
  styles(node, { left: `${left}%` });
  return node;
}

/** The bars of one call: each attempt, the waits between them, or what it waited for. */
export function callBars(call, window) {
  const end = call.to ?? window.now;
  const bars = [];
  if (call.attempts) {
    for (const one of call.retries) bars.push(bar(window, one.from, call.to === null ? Math.min(one.to, Math.max(window.now, one.from)) : Math.min(one.to, end), "retry", ""));
    for (const one of call.attempts) bars.push(bar(window, one.from, one.to ?? window.now, "attempt", one.state));
  } else bars.push(bar(window, call.from, end, call.kind, call.state));
  for (const one of call.marks ?? []) bars.push(mark(window, one));
  return bars;
}

/** All calls below a node in one lane; what would fall on the same pixel is drawn once. */
export function laneBars(node, window) {
  const bars = [];
  // By state, the last that was drawn: what lies inside of it would not be seen.
  const drawn = new Map();
  for (const call of below(node)) {
    if (call === node.timer) continue;
    const from = window.place(call.from);
    const to = window.place(call.to ?? window.now);
    if (to < 0 || from > 100) continue;
    const left = Math.floor((from / 100) * window.pixels);
    const right = Math.max(left + 2, Math.round((to / 100) * window.pixels));
    const before = drawn.get(call.state);
    if (before && left >= before.left && right <= before.right) continue;
    if (before && left >= before.left && left <= before.right) before.right = right;
    else drawn.set(call.state, { left, right });
    bars.push(bar(window, call.from, call.to ?? window.now, call.attempts ? "attempt" : call.kind, call.attempts && isOpen(call) ? "running" : call.state));
    if (bars.length >= MOST) break;
  }
  return bars;
}

/** The run itself, with what came from outside. */
export function runBars(model, run, window) {
  const started = model.started ?? window.now;
  const bars = [
    model.created < started ? bar(window, model.created, started, "run", "pending") : null,
    model.started ? bar(window, model.started, model.ended ?? window.now, "run", model.end ?? run.status) : null,
  ];
  let edge = -10;
  for (const one of model.marks) {
    const at = Math.round((window.place(one.at) / 100) * window.pixels);
    if (at - edge < 3) continue;
    const node = mark(window, one);
    if (node) (bars.push(node), (edge = at));
  }
  return bars;
}
