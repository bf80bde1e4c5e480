// What went in and what came out, in sight.

import { fill, h } from "../../lib/dom.js";
import { json } from "../../lib/json.js";
import { failure } from "./failure.js";

export function values({ feed, signal }) {
  const input = h("section", { class: "card", "aria-label": "What it was given" }, h("h2", {}, "Input"),
    h("div", { class: "run-value" }, json(feed.run.input, { whole: async () => (await feed.whole()).input, label: "the input" })));
  const output = h("section", { class: "card", "aria-label": "Result" });
  const node = h("div", { class: "run-values" }, input, output);
  let drawn = null;
  function draw() {
    const { run } = feed;
    const wanted = `${run.status} ${run.next}`;
    if (drawn === wanted) return;
    drawn = wanted;
    output.hidden = false;
    if (run.error) return fill(output, h("h2", {}, "Error"), failure(run.error, { run, whole: async () => (await feed.whole()).error }));
    if (run.status !== "completed") return (output.hidden = true);
    fill(output, h("h2", {}, "Output"),
      h("div", { class: "run-value" }, json(run.output, { whole: async () => (await feed.whole()).output, label: "the output" })));
  }
  feed.addEventListener("run", draw, { signal });
  draw();
  return node;
}
