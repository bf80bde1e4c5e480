import { h } from "../lib/dom.js";

export function view() {
  return { title: "schedules", element: h("h1", {}, "schedules") };
}
