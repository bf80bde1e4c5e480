// Looking closer at a part of the axis: by wheel with Ctrl, keys, buttons, or by drawing a range.

import { h, styles } from "../../../lib/dom.js";

/** The smallest part of the axis that is shown. */
const SMALLEST = 1e-6;

/**
 * Changes `view` (`from` and `to`, from 0 to 1) and calls `changed`; `seen()` gives what of the axis the rows that are seen
 * need. Gives `buttons`, and `dragged()`: the click was the end of a range.
 */
export function zooming({ frame, axis, rows, view, signal, changed, seen }) {
  let waiting = 0;
  const set = (from, to) => {
    const size = Math.min(1, Math.max(SMALLEST, to - from));
    view.from = Math.min(Math.max(0, from), 1 - size);
    view.to = view.from + size;
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      changed();
    });
  };
  const by = (factor, around = (view.from + view.to) / 2) => set(around - (around - view.from) * factor, around + (view.to - around) * factor);
  const pan = (share) => {
    const size = view.to - view.from;
    set(view.from + share * size, view.to + share * size);
  };
  const reset = () => set(0, 1);
  const fit = () => {
    const wanted = seen();
    if (!wanted) return;
    const edge = (wanted[1] - wanted[0]) * 0.02;
    set(wanted[0] - edge, wanted[1] + edge);
  };
  const place = (event) => {
    const box = axis.getBoundingClientRect();
    return (event.clientX - box.left) / box.width;
  };

  frame.addEventListener("wheel", (event) => {
    const wide = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      by(Math.exp(event.deltaY / 300), view.from + place(event) * (view.to - view.from));
    } else if (Math.abs(wide) > Math.abs(event.shiftKey ? 0 : event.deltaY) && view.to - view.from < 1) {
      event.preventDefault();
      pan(wide / (axis.clientWidth || 800));
    }
  }, { passive: false });

  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const run = { "+": () => by(0.6), "=": () => by(0.6), "-": () => by(1 / 0.6), 0: reset, z: fit, "<": () => pan(-0.3), ">": () => pan(0.3) }[event.key];
    if (!run) return;
    event.preventDefault();
    event.stopPropagation();
    run();
  });

  // A range is drawn over the tracks or the axis.
  let drawing = null;
  let ended = false;
  const shade = h("span", { class: "tl-range", "aria-hidden": "true", hidden: true });
  frame.append(shade);
  frame.addEventListener("pointerdown", (event) => {
    ended = false;
    const at = place(event);
    if (event.button !== 0 || event.pointerType === "touch" || at < 0 || at > 1 || event.target.closest("a")) return;
    drawing = { start: event.clientX, at };
  });
  addEventListener("pointermove", (event) => {
    if (!drawing) return;
    if (shade.hidden && Math.abs(event.clientX - drawing.start) < 5) return;
    event.preventDefault();
    shade.hidden = false;
    const [from, to] = [drawing.at, place(event)].sort((a, b) => a - b).map((one) => Math.min(1, Math.max(0, one)));
    const left = axis.offsetLeft;
    styles(shade, { left: `${left + from * axis.clientWidth}px`, width: `${(to - from) * axis.clientWidth}px` });
    drawing.to = place(event);
  }, { signal });
  addEventListener("pointerup", () => {
    if (drawing && !shade.hidden) {
      ended = true;
      const [from, to] = [drawing.at, drawing.to].sort((a, b) => a - b);
      const size = view.to - view.from;
      if (to - from > 0.005) set(view.from + Math.max(0, from) * size, view.from + Math.min(1, to) * size);
    }
    drawing = null;
    shade.hidden = true;
  }, { signal });
  rows.addEventListener("dragstart", (event) => event.preventDefault());

  const button = (label, name, run, keys) => h("button", { type: "button", class: "icon", "aria-label": name, title: `${name} (${keys})`, onclick: run }, label);
  return {
    dragged: () => ended,
    buttons: h("div", { class: "row tl-zoom", role: "group", "aria-label": "Zoom" },
      button("‹", "Earlier", () => pan(-0.3), "<"), button("›", "Later", () => pan(0.3), ">"),
      button("−", "Zoom out", () => by(1 / 0.6), "-"), button("+", "Zoom in", () => by(0.6), "+"),
      button("Fit", "Fit to the rows that are seen", fit, "z"), button("All", "Show all", reset, "0")),
  };
}
