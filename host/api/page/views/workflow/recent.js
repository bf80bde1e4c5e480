// The latest runs of something, as a short list that keeps itself up to date.

import { api } from "../../lib/api.js";
import { fill, h, reconcile, throttle } from "../../lib/dom.js";
import { changeRow, makeRow } from "../runs/row.js";

/** `query`: which ones, as `GET /runs` takes it. Gives `{ element, load(), soon() }`. */
export function recentRuns({ query, signal, limit = 12, none = "No run yet." }) {
  const list = h("div", { class: "recent", role: "table", "aria-label": "Runs" });
  const empty = h("p", { class: "soft" });
  const element = h("div", {}, list, empty);
  async function load() {
    if (!element.isConnected && list.childElementCount) return;
    const page = await api.get("/runs", { query: { ...query, limit, value_bytes: 160 }, signal }).catch(() => null);
    if (!page) return;
    list.hidden = page.runs.length === 0;
    fill(empty, page.runs.length ? null : none);
    reconcile(list, page.runs, (run) => run.id, (run) => {
      const row = makeRow(run, { picked: () => false, pick: () => {} });
      row.setAttribute("role", "row");
      return row;
    }, changeRow);
  }
  return { element, load, soon: throttle(1000, () => !document.hidden && load()) };
}
