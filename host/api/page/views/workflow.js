import { h } from "../lib/dom.js";

export function view() {
  return { title: "workflow", element: h("h1", {}, "workflow") };
}
