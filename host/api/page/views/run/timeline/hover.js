// A few facts beside the pointer; everything they say is in the row's name and its details too.

import { fill, h, styles } from "../../../lib/dom.js";

/** Shows `tell(row, target)` for the row under the pointer, `target` being a mark in it or the row; `find(node)` gives the row of an element. */
export function hover(place, find, tell, signal) {
  const tip = h("div", { class: "tl-tip", "aria-hidden": "true", hidden: true });
  let over = null;
  const hide = () => {
    over = null;
    tip.hidden = true;
  };
  place.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const node = event.target.closest(".tl-row");
    if (!node || event.buttons) return hide();
    const on = event.target.closest(".bar-mark") ?? node;
    if (on !== over) {
      over = on;
      const row = find(node);
      if (!row) return hide();
      fill(tip, tell(row, on));
      tip.hidden = false;
      if (!tip.isConnected) document.body.append(tip);
    }
    const box = tip.getBoundingClientRect();
    styles(tip, {
      left: `${Math.min(event.clientX + 14, innerWidth - box.width - 8)}px`,
      top: `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`,
    });
  }, { passive: true });
  place.addEventListener("pointerleave", hide);
  addEventListener("scroll", hide, { capture: true, passive: true, signal });
  signal.addEventListener("abort", () => tip.remove(), { once: true });
}
