// The filters above the list. Each change goes into the address; the list follows the address.

import { api, part } from "../../lib/api.js";
import { fill, h, reconcile, text } from "../../lib/dom.js";
import { STATUSES, number, short, status, whole } from "../../lib/format.js";
import { go, link } from "../../lib/router.js";
import { SPANS, SPAN_NAMES, empty, write } from "./filter.js";

/** Gives `{ element, show(filter), counts(census), workflows(names) }`. */
export function filterBar() {
  let filter = null;
  let census = null;
  const set = (change) => go(link(["runs"], write({ ...filter, ...change })));

  const chips = h("div", { class: "chips", role: "group", "aria-label": "Status" });
  const workflow = h("select", { "aria-label": "Workflow", onchange: () => set({ workflow: workflow.value || null, version: null }) });
  const span = h("select", { "aria-label": "Started", onchange: () => {
    if (span.value === "custom") return void (dates.hidden = false, from.focus());
    set({ last: span.value || null, since: null, until: null });
  } },
    h("option", { value: "" }, "any time"),
    Object.keys(SPANS).map((name) => h("option", { value: name }, SPAN_NAMES[name])),
    h("option", { value: "custom" }, "from … to …"));
  const day = (name, label) => h("input", { type: "datetime-local", "aria-label": label, onchange: (event) => {
    const ms = event.target.value ? new Date(event.target.value).getTime() : null;
    set({ last: null, [name]: ms });
  } });
  const [from, to] = [day("since", "Started from"), day("until", "Started before")];
  const dates = h("span", { class: "row dates", hidden: true }, from, "to", to);
  const tag = h("input", { type: "text", size: 14, placeholder: "tag: key:value", "aria-label": "Tag, as key:value", autocomplete: "off", spellcheck: "false" });
  const wrong = h("span", { class: "wrong", role: "alert" });
  const tagForm = h("form", { class: "row", onsubmit: (event) => {
    event.preventDefault();
    const wanted = tag.value.trim();
    text(wrong, "");
    if (!wanted) return;
    if (!/^[^:]+:./.test(wanted)) return void text(wrong, "Write a tag as key:value, like customer:ann.");
    tag.value = "";
    set({ tag: [...new Set([...filter.tag, wanted])] });
  } }, tag);
  const id = h("input", { type: "search", size: 18, placeholder: "Run id", "aria-label": "Go to a run by its id", autocomplete: "off", spellcheck: "false" });
  const idForm = h("form", { class: "row", role: "search", onsubmit: async (event) => {
    event.preventDefault();
    const wanted = id.value.trim();
    text(wrong, "");
    if (!wanted) return;
    try {
      const run = await api.get(`/runs/${part(wanted)}`, { query: { value_bytes: 64 } });
      go(link(["runs", run.id]));
    } catch (error) {
      text(wrong, error.status === 404 || error.status === 400 ? `There is no run with the id ${wanted}.` : error.message);
    }
  } }, id);
  const chosen = h("span", { class: "row" });
  const element = h("div", { class: "filters" }, chips,
    h("div", { class: "row" }, workflow, span, dates, tagForm, idForm, chosen, wrong));

  const toggle = (name) => set({ status: filter.status.includes(name) ? filter.status.filter((other) => other !== name) : [...filter.status, name] });
  const chip = (name) => {
    const count = h("span", { class: "count" });
    const node = h("button", { type: "button", class: "chip", onclick: () => toggle(name) }, status(name), count);
    node.count = count;
    return node;
  };
  const drawChips = () => {
    const counts = new Map();
    for (const entry of census ?? []) {
      if (!filter.workflow || entry.workflow === filter.workflow) counts.set(entry.status, (counts.get(entry.status) ?? 0) + entry.runs);
    }
    const shown = STATUSES.filter((name) => !census || counts.get(name) || filter.status.includes(name) || ["running", "completed", "failed"].includes(name));
    reconcile(chips, shown, (name) => name, chip, (node, name) => {
      node.setAttribute("aria-pressed", String(filter.status.includes(name)));
      text(node.count, census ? number(counts.get(name) ?? 0) : "");
    });
  };
  const removable = (what, change) => h("button", { type: "button", class: "tag removable", "aria-label": `Remove the filter ${what}`, onclick: () => set(change) }, what, " ×");
  const local = (ms) => (ms === null ? "" : new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16));

  return {
    element,
    show(next) {
      filter = next;
      text(wrong, "");
      drawChips();
      if (filter.workflow && ![...workflow.options].some((option) => option.value === filter.workflow)) workflow.append(h("option", {}, filter.workflow));
      workflow.value = filter.workflow ?? "";
      const custom = filter.since !== null || filter.until !== null;
      span.value = custom ? "custom" : filter.last ?? "";
      dates.hidden = !custom;
      from.value = local(filter.since);
      to.value = local(filter.until);
      for (const [field, ms] of [[from, filter.since], [to, filter.until]]) field.title = ms === null ? "" : whole(ms);
      fill(chosen,
        filter.tag.map((one) => removable(one, { tag: filter.tag.filter((other) => other !== one) })),
        filter.version && removable(`version ${short(filter.version)}`, { version: null }),
        filter.parent && removable(`children of ${filter.parent}`, { parent: null }),
        empty(filter) ? null : h("a", { class: "button", href: "#/runs" }, "Clear"));
    },
    counts(next) {
      census = next;
      drawChips();
    },
    workflows(names) {
      const now = workflow.value;
      fill(workflow, h("option", { value: "" }, "all workflows"), names.map((name) => h("option", { value: name }, name)));
      if (now && !names.includes(now)) workflow.append(h("option", { value: now }, now));
      workflow.value = filter?.workflow ?? now;
    },
  };
}
