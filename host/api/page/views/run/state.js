// What a run shows to the outside: its state, its status text, what it waits for, its tags.

import { fill, h } from "../../lib/dom.js";
import { relative, time, whole } from "../../lib/format.js";
import { json } from "../../lib/json.js";
import { link } from "../../lib/router.js";
import { said } from "./now.js";
import { placeLink } from "./place.js";

export function panel({ feed, signal }) {
  const element = h("div", { class: "stack run-state" });
  let drawn = null;
  function draw() {
    const { run } = feed;
    const wanted = JSON.stringify([run.state, run.status_text, run.waiting_for, run.tags, run.status]);
    if (wanted === drawn) return;
    drawn = wanted;
    const empty = !run.state || (typeof run.state === "object" && !Object.keys(run.state).length);
    fill(element,
      card("Set by the script", empty ? h("p", { class: "soft" }, "Nothing is set. set_state(key, value) in the script shows values here while it runs.")
        : json(run.state, { open: 2, label: "the state", whole: async () => (await feed.whole()).state })),
      card("Status text", run.status_text ? h("p", {}, run.status_text) : h("p", { class: "soft" }, "None: set_status(text) sets it.")),
      run.waiting_for.length ? card("What its tasks wait for", h("div", { class: "scroll-x" }, h("table", {},
        h("thead", {}, h("tr", {}, ["Call", "Waits", "Until", "At"].map((name) => h("th", {}, name)))),
        h("tbody", {}, run.waiting_for.slice(0, 200).map((wait) => h("tr", {},
          h("td", {}, wait.step_id ? h("a", { class: "mono", href: link(["runs", feed.id], { step: wait.step_id }) }, wait.step_id) : ""),
          h("td", {}, said(wait, feed)),
          h("td", {}, wait.until ? [time(wait.until, whole), " (", time(wait.until, relative), ")"] : "–"),
          h("td", {}, wait.site ? placeLink(run, wait.site) : ""))))),
        run.waiting_for.length > 200 ? h("p", { class: "soft" }, `The first 200 of ${run.waiting_for.length}.`) : null)) : null,
      card("Tags", Object.keys(run.tags).length ? h("div", { class: "row" }, Object.entries(run.tags).map(([name, value]) => h("a", { class: "tag", href: link(["runs"], { tag: `${name}:${value}` }) }, `${name}: ${value}`)))
        : h("p", { class: "soft" }, "None: a start gives them.")));
  }
  feed.addEventListener("run", draw, { signal });
  draw();
  return { element };
}

const card = (name, ...content) => h("section", { class: "card", "aria-label": name }, h("h2", {}, name), content);
