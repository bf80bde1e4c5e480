// The difference of two texts, by lines.

import { h } from "./dom.js";

/** More differences than these are not looked into: all lines are shown as replaced. */
const MOST = 1500;
/** Lines shown around a change. */
const AROUND = 3;

/**
 * `[kind, old line, new line]` for each line of both texts, `kind` one of " ", "-" and "+"; lines from 0. The shortest way from one
 * to the other (Myers), unless it is a very long one.
 */
export function diff(one, other) {
  const a = one.split("\n");
  const b = other.split("\n");
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const found = [];
  for (let at = 0; at < start; at += 1) found.push([" ", at, at]);
  for (const [kind, x, y] of shortest(a.slice(start, a.length - end), b.slice(start, b.length - end))) found.push([kind, x + start, y + start]);
  for (let at = end; at > 0; at -= 1) found.push([" ", a.length - at, b.length - at]);
  return { a, b, found };
}

function shortest(a, b) {
  const [n, m] = [a.length, b.length];
  const most = Math.min(n + m, MOST);
  const middle = most + 1;
  const reach = new Int32Array(2 * middle + 1);
  const trail = [];
  for (let d = 0; d <= most; d += 1) {
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && reach[middle + k - 1] < reach[middle + k + 1]) ? reach[middle + k + 1] : reach[middle + k - 1] + 1;
      while (x < n && x - k < m && a[x] === b[x - k]) x += 1;
      reach[middle + k] = x;
      if (x >= n && x - k >= m) return walk(trail, d, n, m);
    }
    // Of what was reached only this much can be asked for later.
    trail.push(reach.slice(middle - d - 1, middle + d + 2));
  }
  return [...a.map((_, x) => ["-", x, 0]), ...b.map((_, y) => ["+", n, y])];
}

function walk(trail, d, x, y) {
  const found = [];
  for (; d > 0; d -= 1) {
    const before = trail[d - 1];
    const reached = (k) => before[k + d] ?? -1;
    const k = x - y;
    const down = k === -d || (k !== d && reached(k - 1) < reached(k + 1));
    const from = down ? k + 1 : k - 1;
    const fromX = reached(from);
    const fromY = fromX - from;
    while (x > fromX + (down ? 0 : 1) && y > fromY + (down ? 1 : 0)) found.push([" ", --x, --y]);
    if (down) found.push(["+", x, --y]);
    else found.push(["-", --x, y]);
  }
  while (x > 0 && y > 0) found.push([" ", --x, --y]);
  return found.reverse();
}

/** The difference as an element, with some lines around each change; null where there is none. */
export function difference(one, other, name) {
  const { a, b, found } = diff(one, other);
  const changed = found.flatMap(([kind], at) => (kind === " " ? [] : [at]));
  if (!changed.length) return null;
  const near = new Set(changed.flatMap((at) => Array.from({ length: 2 * AROUND + 1 }, (_, by) => at - AROUND + by)));
  const rows = [];
  let skipped = false;
  for (const [at, [kind, x, y]] of found.entries()) {
    if (!near.has(at)) {
      skipped = true;
      continue;
    }
    if (skipped && rows.length) rows.push(h("tr", { class: "gap" }, h("td", { colspan: 4 }, "⋯")));
    skipped = false;
    rows.push(h("tr", { class: kind === "+" ? "added" : kind === "-" ? "removed" : null },
      h("td", { class: "at" }, kind === "+" ? "" : String(x + 1)), h("td", { class: "at" }, kind === "-" ? "" : String(y + 1)),
      h("td", { class: "sign" }, kind === " " ? "" : h("span", { "aria-label": kind === "+" ? "added" : "removed", role: "img" }, kind === "-" ? "−" : "+")),
      h("td", { class: "of" }, kind === "+" ? b[y] : a[x])));
  }
  const count = (wanted) => found.filter(([kind]) => kind === wanted).length;
  return h("section", { class: "difference" },
    h("h3", {}, h("span", { class: "mono" }, name), h("span", { class: "faint" }, ` ${count("+")} added, ${count("-")} removed`)),
    h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": `Changes of ${name}` }, h("table", { class: "mono" }, h("tbody", {}, rows))));
}
