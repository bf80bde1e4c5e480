// The list of what was seen, beside the moment: all of it, or what fits a search.

import { h, text, throttle } from "../../../lib/dom.js";
import { number } from "../../../lib/format.js";
import { virtual } from "../../../lib/virtual.js";

const ROW = 22;

/** `go(index)`: to the moment right after an event. */
export function rows({ go }) {
  let traced = null;
  let found = null;
  let current = -1;
  let programmed = false;
  const search = h("input", { type: "search", placeholder: "Variable, call or text", "aria-label": "Search in the trace; the name of a variable gives its changes", list: "trace-names" });
  const names = h("datalist", { id: "trace-names" });
  const count = h("p", { class: "faint", role: "status" });
  const length = () => found?.length ?? traced?.events.length ?? 0;
  const at = (row) => (found ? found[row] : row);
  const list = virtual({
    height: ROW, label: "Trace", key: (row) => at(row), open: (row) => go(at(row)),
    row: (row) => make(at(row)),
    change: (node, row) => node.classList.toggle("now", at(row) === current),
  });
  list.element.classList.add("trace-rows");
  list.element.addEventListener("click", (event) => {
    const node = event.target.closest(".trace-row");
    if (node) go(Number(node.dataset.index));
  });

  function make(index) {
    const event = traced.events[index];
    const [kind, shown] = words(event);
    return h("div", { class: `trace-row is-${event.type}${index === current ? " now" : ""}`, dataset: { index: String(index) } },
      h("span", { class: "trace-n" }, event.type === "line" ? String(event.n) : ""),
      event.task ? h("span", { class: "trace-task" }, event.task) : null,
      h("span", { class: "trace-words", style: { "padding-left": `${Math.min(event.depth, 12)}ch` } }, kind ? h("span", { class: "hidden" }, kind) : null, shown));
  }

  function look() {
    const wanted = search.value.trim();
    if (!traced || !wanted) found = null;
    else if (traced.changes.has(wanted)) found = traced.changes.get(wanted);
    else {
      const low = wanted.toLowerCase();
      found = [];
      for (const [index, event] of traced.events.entries()) if (words(event)[1].toLowerCase().includes(low)) found.push(index);
    }
    list.update(length());
    list.refresh();
    text(count, !traced ? "" : found ? `${number(found.length)} of ${number(traced.events.length)}${traced.changes.has(wanted) ? `: changes of ${wanted}` : ""}` : `${number(traced.events.length)} seen`);
    show();
  }
  const soon = throttle(250, look);
  search.addEventListener("input", soon);

  /** The current row, and the list scrolled to it. */
  function show() {
    if (current < 0 || programmed) return;
    let row = current;
    if (found) {
      let [low, high] = [0, found.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (found[middle] <= current) low = middle + 1;
        else high = middle;
      }
      row = Math.max(0, low - 1);
    }
    if (row < length()) list.reveal(row);
  }

  return {
    element: h("div", { class: "trace-list" }, search, names, count, list.element),
    /** Another trace, or more of it. */
    take(next) {
      const other = traced !== next;
      traced = next;
      if (other) current = -1;
      look();
      const known = [...traced.changes.keys()].slice(0, 300);
      if (names.childElementCount !== known.length) names.replaceChildren(...known.map((name) => h("option", { value: name })));
    },
    at(index) {
      const before = current;
      current = index;
      for (const node of list.element.querySelectorAll(".trace-row")) {
        const own = Number(node.dataset.index);
        if (own === before || own === index) node.classList.toggle("now", own === index);
      }
      show();
    },
    search(name) {
      search.value = name;
      look();
      search.focus();
    },
  };
}

/** `[kind, text]` of an event. */
export function words(event) {
  switch (event.type) {
    case "line": return ["", event.source.trim()];
    case "changed": return ["changed", `${event.name} = ${event.new}${event.old === undefined ? "" : `  (was ${event.old})`}`];
    case "entered": return ["entered", `→ ${event.function}()`];
    case "returned": return ["returned", `← ${event.function}() = ${event.value}`];
    case "threw": return ["threw", `✗ ${event.function}(): ${event.error}`];
    case "called": return ["called", `${event.call}${event.input ? ` ${event.input}` : ""}${event.new ? "  (would be made now)" : ""}`];
    case "answered": return ["answered", `= ${event.value}`];
    case "failed": return ["failed", `✗ ${event.error}`];
    default: return ["", event.type];
  }
}
