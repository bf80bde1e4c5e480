// Questions that a run has put to a person, each with its payload and a form for the answer.

import { api } from "../../lib/api.js";
import { fill, h, reconcile, say } from "../../lib/dom.js";
import { problem } from "../../lib/dialog.js";
import { relative, time, whole } from "../../lib/format.js";
import { json } from "../../lib/json.js";
import { placeLink } from "./place.js";

/** Keeps `place` showing the open questions of a run. What the user has typed stays while others come and go. */
export function questions({ feed, signal, place }) {
  let asked = null;
  async function look() {
    const open = feed.run.waiting_for.filter(({ kind }) => kind === "suspend").map(({ step_id }) => step_id).join(" ");
    const wanted = feed.run.status === "suspended" ? `! ${open}` : open;
    if (wanted === asked) return;
    asked = wanted;
    let list = [];
    if (wanted) {
      try {
        list = (await api.get(`${feed.path}/suspensions`, { signal })).suspensions;
      } catch (error) {
        asked = null;
        if (!signal.aborted) fill(place, problem(error));
        return;
      }
    }
    if (asked !== wanted) return;
    reconcile(place, list, ({ step_id, since }) => `${step_id} ${since}`, (one) => question(one, feed, signal));
  }
  feed.addEventListener("run", look, { signal });
  look();
}

function question(suspension, feed, signal) {
  const wait = feed.run.waiting_for.find(({ step_id }) => step_id === suspension.step_id);
  const answer = h("div", {}, h("p", { class: "busy" }, "Loading …"));
  const heading = h("h2", {}, suspension.label ? `It asks: ${suspension.label}` : "It asks a person");
  const node = h("section", { class: "notice ask question", "aria-label": "A question" },
    heading,
    h("p", { class: "soft" }, "since ", time(suspension.since, whole), " (", time(suspension.since, relative), ")",
      suspension.until ? [", until ", time(suspension.until, whole), " (", time(suspension.until, relative), ")"] : null,
      wait?.site ? [" at ", placeLink(feed.run, wait.site)] : null),
    suspension.payload === null || suspension.payload === undefined ? null : h("div", { class: "run-value" }, json(suspension.payload, { open: 2, label: "what it shows" })),
    answer);
  form(suspension, feed, signal, answer);
  return node;
}

async function form(suspension, feed, signal, place) {
  const { form: make } = await import("../../lib/form.js");
  if (signal.aborted) return;
  const fields = make(suspension.schema ?? null, { label: "Answer" });
  const wrong = h("div", { role: "alert" });
  const send = h("button", { type: "submit", class: "primary" }, "Answer");
  const node = h("form", { class: "stack", novalidate: true }, fields.element, wrong, h("div", { class: "row" }, send));
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    fill(wrong);
    let data;
    try {
      data = fields.read();
    } catch {
      // Each wrong field says what is wrong with it.
      return;
    }
    send.disabled = true;
    try {
      await api.post(`${feed.path}/resume`, { label: suspension.step_id, data });
      say("Answered");
      feed.refresh();
    } catch (error) {
      send.disabled = false;
      if (error.status !== 400 || !fields.show(error.message)) fill(wrong, problem(error));
    }
  });
  fill(place, node);
}
