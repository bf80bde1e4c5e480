import { h } from "../lib/dom.js";

export function view() {
  return { title: "run", element: h("h1", {}, "run") };
}
