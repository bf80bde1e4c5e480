import { h } from "../lib/dom.js";

export function view() {
  return { title: "health", element: h("h1", {}, "health") };
}
