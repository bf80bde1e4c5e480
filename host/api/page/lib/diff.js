// The difference of two texts, by lines, as it is shown.

import { changes } from "./changes.js";
import { h } from "./dom.js";

/** Lines shown around a change. */
const AROUND = 3;

/**
 * The difference as an element, with some lines around each change; null where there is none. `beside`: the old lines on the
 * left, the new ones on the right.
 */
export function difference(one, other, name, { beside = false } = {}) {
  const [a, b] = [one, other].map((text) => text.replace(/\n$/, "").split("\n"));
  const found = changes(a, b);
  const near = new Uint8Array(found.length);
  for (const [at, [kind]] of found.entries()) {
    if (kind !== " ") near.fill(1, Math.max(0, at - AROUND), at + AROUND + 1);
  }
  if (!near.includes(1)) return null;
  const wide = beside ? 6 : 4;
  const rows = [];
  // Lines that went and came at the same place, until something else follows: beside each other, they are pairs.
  let [gone, fresh] = [[], []];
  const flush = () => {
    for (let at = 0; at < Math.max(gone.length, fresh.length); at += 1) rows.push(h("tr", {}, half("-", gone[at], a), half("+", fresh[at], b)));
    [gone, fresh] = [[], []];
  };
  let skipped = false;
  for (const [at, [kind, x, y]] of found.entries()) {
    if (!near[at]) {
      skipped = true;
      continue;
    }
    if (beside && kind === "-") gone.push(x);
    else if (beside && kind === "+") fresh.push(y);
    else {
      flush();
      if (skipped && rows.length) rows.push(h("tr", { class: "gap" }, h("td", { colspan: wide }, "⋯")));
      skipped = false;
      rows.push(beside
        ? h("tr", {}, half(" ", x, a), half(" ", y, b))
        : h("tr", { class: kind === "+" ? "added" : kind === "-" ? "removed" : null },
          h("td", { class: "at" }, kind === "+" ? "" : String(x + 1)), h("td", { class: "at" }, kind === "-" ? "" : String(y + 1)),
          sign(kind), h("td", { class: "of" }, kind === "+" ? b[y] : a[x])));
    }
  }
  flush();
  const count = (wanted) => found.filter(([kind]) => kind === wanted).length;
  return h("section", { class: beside ? "difference beside" : "difference" },
    h("h3", {}, h("span", { class: "mono" }, name), h("span", { class: "faint" }, ` ${count("+")} added, ${count("-")} removed`)),
    h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": `Changes of ${name}` }, h("table", { class: "mono" }, h("tbody", {}, rows))));
}

const sign = (kind) => h("td", { class: "sign" }, kind === " " ? "" : h("span", { "aria-label": kind === "+" ? "added" : "removed", role: "img" }, kind === "-" ? "−" : "+"));

/** One side of a row; empty where the other has a line and this has none. */
function half(kind, at, lines) {
  if (at === undefined) return [h("td", { class: "at" }), h("td", { class: "sign" }), h("td", { class: "of none" })];
  const tone = { "-": " removed", "+": " added", " ": "" }[kind];
  return [h("td", { class: `at${tone}` }, String(at + 1)), h("td", { class: `sign${tone}` }, sign(kind).firstChild), h("td", { class: `of${tone}` }, lines[at])];
}
