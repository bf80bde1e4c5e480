// Where a moment stands on the axis. Time in which nothing runs can be pressed together, so that a run that slept for three
// days shows what it did.

import { duration } from "../../../lib/format.js";

/** Nice distances between ticks, in milliseconds. */
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 12096e5, 2592e6, 7776e6, 31536e6];

/**
 * Pieces of time, each `{ from, to, x0, x1, idle }`, `x` in a unit of their own from 0 to `length`. `moments` are those at
 * which something happened, each with how many attempts ran from then on; `end` is where the axis ends.
 */
export function scale(moments, end, compress) {
  if (!moments.length) return new Scale([{ from: end, to: end + 1, x0: 0, x1: 1, idle: false }]);
  const start = moments[0].at;
  const whole = Math.max(1, end - start);
  if (!compress) return new Scale([{ from: start, to: start + whole, x0: 0, x1: whole, idle: false }]);
  // What lies between two moments with nothing running, if it is long against all that is not like that.
  let busy = 0;
  const gap = (at) => {
    const from = moments[at].at;
    const to = at + 1 < moments.length ? moments[at + 1].at : end;
    return { from, to: Math.max(from, to), idle: moments[at].busy === 0 };
  };
  const quiet = [];
  for (let at = 0; at < moments.length; at += 1) {
    const one = gap(at);
    if (one.idle) quiet.push(one.to - one.from);
    else busy += one.to - one.from;
  }
  quiet.sort((a, b) => a - b);
  // Short pauses belong to what is done: those that together are no longer than it.
  let short = 0;
  let limit = 0;
  for (const one of quiet) {
    if (short + one > Math.max(busy, 200)) break;
    short += one;
    limit = one;
  }
  const active = Math.max(busy + short, 1);
  const long = quiet.filter((one) => one > limit).length;
  // All of it together takes a third of the axis, about.
  const width = active * Math.min(0.35, Math.max(0.012, 0.6 / Math.max(long, 1)));
  const pieces = [];
  let x = 0;
  for (let at = 0; at < moments.length; at += 1) {
    const { from, to, idle } = gap(at);
    if (to === from) continue;
    const pressed = idle && to - from > limit && to - from > width * 1.2;
    const before = pieces.at(-1);
    const size = pressed ? width : to - from;
    if (before && !before.idle && !pressed) {
      before.to = to;
      before.x1 = x += size;
    } else pieces.push({ from, to, x0: x, x1: (x += size), idle: pressed });
  }
  return new Scale(pieces.length ? pieces : [{ from: start, to: start + 1, x0: 0, x1: 1, idle: false }]);
}

class Scale {
  constructor(pieces) {
    this.pieces = pieces;
    this.start = pieces[0].from;
    this.end = pieces.at(-1).to;
    this.length = pieces.at(-1).x1;
  }

  /** Where a moment is, from 0 to 1. */
  at(ms) {
    if (ms <= this.start) return 0;
    if (ms >= this.end) return 1;
    const piece = this.#piece(ms, "to");
    return (piece.x0 + ((ms - piece.from) / (piece.to - piece.from)) * (piece.x1 - piece.x0)) / this.length;
  }

  /** The moment at a place. */
  moment(place) {
    const x = Math.min(Math.max(place, 0), 1) * this.length;
    const piece = this.#piece(x, "x1");
    return piece.from + ((x - piece.x0) / (piece.x1 - piece.x0)) * (piece.to - piece.from);
  }

  #piece(value, by) {
    let [low, high] = [0, this.pieces.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pieces[middle][by] < value) low = middle + 1;
      else high = middle;
    }
    return this.pieces[low];
  }

  /**
   * What to write on the axis between two places when it is so many pixels wide: `{ x, text, at }`, and `{ x, x1, gap }` for
   * time that is pressed together.
   */
  ticks(from, to, pixels) {
    const marks = [];
    const view = to - from;
    const px = (x) => ((x / this.length - from) / view) * pixels;
    let free = -Infinity;
    for (let at = this.#index(from); at < this.pieces.length; at += 1) {
      const piece = this.pieces[at];
      const left = px(piece.x0);
      const right = px(piece.x1);
      if (left > pixels) break;
      if (right < 0) continue;
      if (piece.idle) {
        marks.push({ x: piece.x0 / this.length, x1: piece.x1 / this.length, gap: piece.to - piece.from, at: piece.from, text: right - left > 52 ? duration(piece.to - piece.from) : "" });
        free = Math.max(free, right);
        continue;
      }
      // No room for words between what is pressed together.
      if (right - left < 44 && this.pieces.length > 1) continue;
      const perMs = (right - left) / (piece.to - piece.from);
      const step = STEPS.find((one) => one * perMs >= 84) ?? STEPS.at(-1);
      const seen = Math.max(piece.from, piece.from + (0 - left) / perMs);
      const base = piece.from;
      for (let ms = base + Math.ceil((seen - base) / step) * step; ms <= piece.to; ms += step) {
        const x = left + (ms - base) * perMs;
        if (x > pixels || x > right - 24) break;
        if (x < free) continue;
        free = x + 70;
        const first = ms === base;
        marks.push({ x: this.at(ms), at: ms, text: first ? elapsed(ms - this.start) : at ? `+${elapsed(ms - base)}` : elapsed(ms - this.start) });
      }
    }
    return marks;
  }

  #index(place) {
    let [low, high] = [0, this.pieces.length - 1];
    const x = place * this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pieces[middle].x1 < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Since a moment, without a digit too many: `0`, `250 ms`, `1.5 s`, `2 min`. */
function elapsed(ms) {
  if (ms === 0) return "0";
  if (ms < 1000) return `${ms} ms`;
  return ms < 60_000 ? `${ms / 1000} s` : duration(ms);
}
