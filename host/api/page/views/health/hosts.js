// The hosts that share the store: who is there, since when, and how many runs each of them holds.

import { api } from "../../lib/api.js";
import { fill, h, throttle } from "../../lib/dom.js";
import { duration, number, relative, time } from "../../lib/format.js";

/** How often they are looked at. */
const EVERY = 5_000;

export function hostList({ signal }) {
  const inside = h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": "Hosts" });
  const element = h("section", { class: "card", hidden: true }, h("h2", {}, "Hosts"), inside);

  const row = ({ id, label, since, alive, lease, runs, here }) => h("tr", {},
    h("td", { class: "number" }, number(id)),
    h("td", {}, label, " ", here ? h("span", { class: "tag" }, "this one") : null, alive ? null : h("span", { class: "status failed" }, "ended")),
    h("td", {}, time(since, relative)),
    h("td", { class: "number" }, number(runs)),
    h("td", { class: "number" }, duration(lease)));

  async function look() {
    const answer = await api.get("/hosts", { signal }).catch(() => null);
    if (!answer) return;
    const now = JSON.stringify(answer.hosts);
    element.hidden = false;
    if (inside.dataset.now === now) return;
    inside.dataset.now = now;
    fill(inside, h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "number" }, "Host"), h("th", {}, "What it is"), h("th", {}, "Since"),
      h("th", { class: "number" }, "Runs"), h("th", { class: "number" }, "Lease"))), h("tbody", {}, answer.hosts.map(row))));
  }

  return { element, load: throttle(EVERY, look) };
}
