// Live runs that wait longest, as far as the list of runs says it.

import { api } from "../../lib/api.js";
import { fill, h } from "../../lib/dom.js";
import { LIVE, number, relative, status, time } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { waitText } from "../runs/row.js";

/** Rows that are shown, and live runs that are looked at. */
const SHOWN = 10;
const LOOK = 5000;
const PAGE = 1000;

/** Gives `{ element, load() }`. */
export function longestWaits({ signal }) {
  const list = h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": "Runs that wait longest" });
  const element = h("section", { class: "card" }, h("h2", {}, "Waiting longest"), list);
  let drawn = null;
  let busy = false;

  /** The list is newest first: what is oldest stands at its end. */
  async function oldest() {
    const runs = [];
    let cursor = null;
    do {
      const page = await api.get("/runs", { query: { status: LIVE, limit: PAGE, cursor, value_bytes: 16 }, signal });
      runs.push(...page.runs);
      cursor = page.next;
    } while (cursor && runs.length < LOOK);
    return { runs: runs.reverse(), all: !cursor };
  }

  async function load() {
    if (busy) return;
    busy = true;
    const found = await oldest().catch(() => null);
    busy = false;
    if (!found) return;
    const runs = found.runs.slice(0, SHOWN);
    const now = JSON.stringify(runs.map((run) => [run.id, run.status, run.waiting_for]));
    if (now === drawn) return;
    drawn = now;
    fill(list, runs.length === 0 ? h("p", { class: "soft" }, "No run is live.") : h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "Run"), h("th", {}, "Status"), h("th", {}, "Waits for"), h("th", {}, "Made"))),
      h("tbody", {}, runs.map((run) => h("tr", {},
        h("td", {}, h("a", { class: "mono", href: link(["runs", run.id]) }, run.id), h("br"), h("span", { class: "soft" }, run.workflow)),
        h("td", {}, status(run.status)),
        h("td", {}, (run.waiting_for ?? []).slice(0, 2).map((wait) => h("p", { class: "nowrap" }, waitText(wait)))),
        h("td", { class: "nowrap" }, time(run.created_at, relative)))))),
    found.all ? null : h("p", { class: "faint" }, `Of the newest ${number(LOOK)} live runs.`));
  }
  return { element, load };
}
