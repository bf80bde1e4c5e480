// An address that leads nowhere.

import { h } from "../lib/dom.js";

export function view() {
  return {
    title: "Not found",
    element: h("div", { class: "empty" },
      h("h1", {}, "There is nothing here"),
      h("p", {}, "The address does not name anything this page shows."),
      h("a", { class: "button", href: "#/runs" }, "All runs")),
  };
}
