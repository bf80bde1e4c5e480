// A few facts beside the pointer; everything they say is in the row's name and its details too.

import { fill, h, styles } from "../../../lib/dom.js";

/** Shows `tell(row)` for the row under the pointer; `find(node)` gives the row of an element. */
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
    if (node !== over) {
      over = node;
      const row = find(node);
      if (!row) return hide();
      fill(tip, tell(row));
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
