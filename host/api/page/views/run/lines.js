import { h } from "../../lib/dom.js";

export function panel() {
  return { element: h("p", { class: "busy" }, "Coming.") };
}
