// Long lists: only the rows that are seen, and some around them, are in the document.

import { h, styles } from "./dom.js";

/** Pixels above and below what is seen in which rows are made too. */
const AROUND = 300;

/** Milliseconds after a row was scrolled to in which it is kept in sight while heights turn out. */
const SETTLE = 400;

/** Rows up and down in which the current row is looked for when others were put before it. */
const NEARBY = 1000;

/**
 * A list of any length. It scrolls with the page, or by itself if a style gives it a height and `overflow-y`.
 *
 * - `count`: how many rows; `height`: of a row in pixels, a number or `(index) => pixels`
 * - `row(index)`: the element of a row; `change(element, index)` brings one up to date, else it is made anew
 * - `key(index)`: which row it is, where rows move; their place if not given
 * - `measure`: rows take the height they need, `height` being a guess until they were seen
 * - `role`: "list" (rows are list items) or "table" (rows are rows; `offset` rows, the heading, come before)
 * - `open(index)`: Enter on a row; `moved(index)`: another row is the current one; `seen({ from, to })`: which rows are made
 *
 * Tab comes to the list, and the arrow keys into it. The current row has the focus. `move(step)` changes it, as the arrow keys, Page up and down, Home and End do.
 * Gives `{ element, update(count), reveal(index), refresh(), refreshOne(index), move(step), focus(index), current, range }`.
 */
export function virtual({ count = 0, height, row, change, key = (index) => index, label, role = "list", offset = 0, measure = false, open, moved, seen }) {
  const inside = h("div", { class: "virtual-inside", role: "presentation" });
  const element = h("div", { class: "virtual", role: role === "table" ? "rowgroup" : role, "aria-label": role === "table" ? null : label, tabindex: "0" }, inside);
  const guess = typeof height === "function" ? height : null;
  const varies = measure || guess !== null;
  /** The row that was scrolled to last: rows above it are measured only then, and move it. */
  const aim = { index: 0, until: 0 };
  /** Heights that were measured, by key. */
  const known = new Map();
  /** Where each row begins, and at last where the list ends; only where heights differ. */
  let tops = new Float64Array(1);
  const rows = new Map();
  const range = { from: 0, to: 0 };
  let current = -1;
  /** Which row that is, for when rows are put above it. */
  let chosen;
  let waiting = 0;

  const top = (index) => (varies ? tops[index] : index * height);
  const tall = (index) => known.get(key(index)) ?? (guess ? guess(index) : height);
  const at = (place) => {
    if (!varies) return Math.floor(place / height);
    let [low, high] = [0, count];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (tops[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const layout = () => {
    if (varies) {
      if (tops.length !== count + 1) tops = new Float64Array(count + 1);
      for (let index = 0; index < count; index += 1) tops[index + 1] = tops[index] + tall(index);
    }
    styles(inside, { height: `${top(count)}px` });
  };

  const sizes = measure && new ResizeObserver((entries) => {
    let shift = 0;
    let changed = false;
    const edge = sight().from;
    for (const { target, borderBoxSize } of entries) {
      const entry = rows.get(target.virtualKey);
      if (!entry || entry.node !== target) continue;
      const size = borderBoxSize[0].blockSize;
      const before = tall(entry.index);
      if (!size || Math.abs(size - before) < 0.5) continue;
      known.set(target.virtualKey, size);
      changed = true;
      if (top(entry.index) + before <= edge) shift += size - before;
    }
    if (!changed) return;
    layout();
    // What is read stays where it is when a row above it turns out to be taller.
    if (performance.now() < aim.until && aim.index < count) inSight(aim.index);
    else if (shift) scroller().scrollTop += shift;
    draw();
  });

  const scroller = () => (element.scrollHeight > element.clientHeight + 1 && getComputedStyle(element).overflowY !== "visible" ? element : document.scrollingElement);

  /** What is seen of the list, in its own pixels. */
  const sight = () => {
    const box = element.getBoundingClientRect();
    const start = inside.getBoundingClientRect().top;
    return { from: Math.max(0, box.top) - start, to: Math.min(innerHeight, box.bottom) - start };
  };

  const place = (entry) => {
    styles(entry.node, { top: `${top(entry.index)}px`, height: measure ? "" : `${varies ? tall(entry.index) : height}px` });
    if (role === "table") entry.node.setAttribute("aria-rowindex", String(entry.index + 1 + offset));
    else {
      entry.node.setAttribute("aria-posinset", String(entry.index + 1));
      entry.node.setAttribute("aria-setsize", String(count));
    }
  };
  const make = (index) => {
    const name = key(index);
    const node = row(index);
    node.virtualKey = name;
    node.classList.add("virtual-row");
    node.setAttribute("role", role === "table" ? "row" : "listitem");
    node.tabIndex = -1;
    const entry = { node, index };
    rows.set(name, entry);
    if (measure) sizes.observe(node);
    return entry;
  };
  const drop = (name, entry) => {
    rows.delete(name);
    if (measure) sizes.unobserve(entry.node);
    entry.node.remove();
  };

  const draw = () => {
    waiting = 0;
    if (!element.isConnected) return;
    follow();
    const { from, to } = sight();
    range.from = Math.max(0, Math.min(count, at(from - AROUND)));
    range.to = to <= from ? range.from : Math.max(range.from, Math.min(count, at(to + AROUND) + 1));
    const wanted = [];
    // The row with the focus stays, or the focus would be lost by scrolling.
    const kept = current >= 0 && current < count && rows.get(key(current))?.node.contains(document.activeElement);
    if (kept && current < range.from) wanted.push(current);
    for (let index = range.from; index < range.to; index += 1) wanted.push(index);
    if (kept && current >= range.to) wanted.push(current);
    const names = new Set(wanted.map(key));
    for (const [name, entry] of rows) if (!names.has(name)) drop(name, entry);
    let before = null;
    for (const index of wanted) {
      let entry = rows.get(key(index));
      if (!entry) entry = make(index);
      entry.index = index;
      place(entry);
      const next = before ? before.nextSibling : inside.firstChild;
      if (entry.node !== next) inside.insertBefore(entry.node, next);
      before = entry.node;
    }
    seen?.(range);
  };
  const soon = () => (waiting ||= requestAnimationFrame(draw));

  // Whatever scrolls around the list: scrolling does not bubble, but it is captured. Out of the document nothing listens;
  // the observer tells when the list comes (back) into it.
  const watch = () => {
    if (element.isConnected) return soon();
    removeEventListener("scroll", watch, { capture: true });
    removeEventListener("resize", watch);
  };
  new ResizeObserver(() => {
    if (!element.isConnected) return;
    addEventListener("scroll", watch, { capture: true, passive: true });
    addEventListener("resize", watch, { passive: true });
    soon();
  }).observe(element);

  /** The current row may stand elsewhere now; it is looked for nearby. */
  const follow = () => {
    if (current < 0 || (current < count && key(current) === chosen)) return;
    for (let by = 1; by <= NEARBY; by += 1) {
      const found = [current + by, current - by].find((index) => index >= 0 && index < count && key(index) === chosen);
      if (found !== undefined) return void (current = found);
    }
    current = -1;
  };
  const fade = () => {
    if (current >= 0 && current < count) rows.get(key(current))?.node.classList.remove("current");
  };
  const inSight = (index) => {
    const { from, to } = sight();
    // What is fixed at the top of the page covers something.
    const covered = scroller() === element ? 0 : 96;
    const [start, end] = [top(index), top(index + 1)];
    if (start < from + covered) scroller().scrollTop += start - from - covered;
    else if (end > to) scroller().scrollTop += end - to;
  };

  const list = {
    element,
    range,
    get current() {
      return current;
    },
    /** There are so many rows now. */
    update(next) {
      count = next;
      layout();
      draw();
    },
    /** What the rows show is another thing: those that are seen are brought up to date. */
    refresh() {
      layout();
      for (const [name, entry] of [...rows]) {
        if (entry.index >= count || key(entry.index) !== name) continue;
        if (change) change(entry.node, entry.index);
        else {
          const focused = entry.node.contains(document.activeElement);
          const old = entry.node;
          drop(name, entry);
          const made = make(entry.index);
          inside.append(made.node);
          if (old.classList.contains("current")) made.node.classList.add("current");
          if (focused) made.node.focus({ preventScroll: true });
        }
      }
      draw();
    },
    /** Brings one row up to date, if it is there. */
    refreshOne(index) {
      const entry = rows.get(key(index));
      if (entry && change) change(entry.node, index);
      else if (entry) list.refresh();
    },
    /** Scrolls so that the row is seen. */
    reveal(index) {
      if (!element.isConnected) return void requestAnimationFrame(() => element.isConnected && list.reveal(index));
      Object.assign(aim, { index, until: performance.now() + SETTLE });
      inSight(index);
      draw();
    },
    /** Makes a row the current one and gives it the focus. */
    focus(index) {
      if (!count) return;
      fade();
      current = Math.max(0, Math.min(count - 1, index));
      chosen = key(current);
      list.reveal(current);
      const entry = rows.get(key(current)) ?? make(current);
      if (!entry.node.isConnected) (inside.append(entry.node), place(entry));
      entry.node.classList.add("current");
      entry.node.focus({ preventScroll: true });
      moved?.(current);
    },
    /** So many rows on; the first one that is seen if there was no current one. */
    move(step) {
      const { from } = sight();
      list.focus(current < 0 ? Math.max(0, at(from + 1)) : current + step);
    },
  };

  element.addEventListener("focusin", (event) => {
    const node = event.target.closest(".virtual-row");
    const entry = node && rows.get(node.virtualKey);
    if (!entry || entry.index === current) return;
    fade();
    current = entry.index;
    chosen = node.virtualKey;
    node.classList.add("current");
    moved?.(current);
  });
  element.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=checkbox]), textarea, select")) return;
    const { from, to } = sight();
    const screen = Math.max(1, at(to) - at(from) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: screen, PageUp: -screen, Home: -count, End: count }[event.key];
    const onRow = event.target.classList.contains("virtual-row");
    if (step !== undefined && (onRow || event.key.startsWith("Arrow"))) {
      event.preventDefault();
      list.move(step);
    } else if (event.key === "Enter" && onRow && open) {
      event.preventDefault();
      open(current);
    }
  });

  layout();
  return list;
}
