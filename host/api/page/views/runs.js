import { h } from "../lib/dom.js";

export function view() {
  return { title: "runs", element: h("h1", {}, "runs") };
}
