import { h } from "../lib/dom.js";

export function view() {
  return { title: "workflows", element: h("h1", {}, "workflows") };
}
