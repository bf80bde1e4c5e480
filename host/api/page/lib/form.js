// Forms from JSON Schema.

import { Wrong } from "./dialog.js";
import { h } from "./dom.js";

/** `{ element, read(), focus() }`: `read()` gives the value, or throws after marking what is wrong. */
export function form(schema, { value, label = "Input" } = {}) {
  const id = `raw-${Math.random().toString(36).slice(2)}`;
  const area = h("textarea", { id, rows: 10, spellcheck: "false", value: value === undefined ? "" : JSON.stringify(value, null, 2) });
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, `${label} (JSON)`), area),
    focus: () => area.focus(),
    show: () => false,
    set: (other) => (area.value = JSON.stringify(other, null, 2)),
    read() {
      if (!area.value.trim()) return undefined;
      try {
        return JSON.parse(area.value);
      } catch (error) {
        area.setAttribute("aria-invalid", "true");
        throw new Wrong(`This is no JSON: ${error.message}`);
      }
    },
  };
}
