// The versions of a workflow, and what differs between two of them.

import { problem } from "../../lib/dialog.js";
import { difference } from "../../lib/diff.js";
import { fill, h } from "../../lib/dom.js";
import { LIVE, bytes, number, relative, short, time } from "../../lib/format.js";
import { go, link } from "../../lib/router.js";
import { label, textsOf } from "./source.js";

export function versionsPanel({ name, versions, signal }) {
  const table = h("div", { class: "scroll-x", tabindex: 0, role: "region", "aria-label": "Versions" });
  const [from, to] = ["a", "b"].map((side) => h("select", { id: `diff-${side}`, onchange: () => compare() }));
  const beside = h("button", { type: "button", onclick: () => {
    localStorage.setItem("durhai-beside", wide() ? "no" : "yes");
    before = null;
    update(at);
  } }, "Beside each other");
  const place = h("div", { class: "stack" });
  const chooser = h("div", { class: "row" }, h("h2", {}, "What changed"), h("label", { for: "diff-a" }, "from"), from, h("label", { for: "diff-b" }, "to"), to, beside);
  const element = h("div", { class: "stack" }, table, chooser, place);
  const wide = () => (localStorage.getItem("durhai-beside") ?? (innerWidth > 1000 ? "yes" : "no")) === "yes";
  const compare = () => go(link(["workflows", name], { tab: "versions", a: from.value, b: to.value }));
  let before = null;
  let drawn = null;
  let at;

  function drawTable(all) {
    const now = JSON.stringify(all);
    if (now === drawn) return;
    drawn = now;
    const runs = (one, query, count) => (count ? h("a", { href: link(["runs"], { workflow: name, version: one.version, ...query }) }, number(count)) : "0");
    fill(table, h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "Version"), h("th", {}, "First seen"), h("th", { class: "number" }, "Live runs"), h("th", { class: "number" }, "All runs"), h("th", { class: "number" }, "Size"), h("th", {}, h("span", { class: "hidden" }, "Actions")))),
      h("tbody", {}, all.map((one, index) => h("tr", {},
        h("td", {}, h("span", { class: "mono", title: one.version }, short(one.version)), one.serving ? h("span", { class: "status completed serves" }, "serves") : null),
        h("td", {}, one.first_seen ? [time(one.first_seen), " ", h("span", { class: "faint" }, time(one.first_seen, relative))] : h("span", { class: "faint" }, "only a run knows it")),
        h("td", { class: "number" }, runs(one, { status: LIVE }, one.live)),
        h("td", { class: "number" }, runs(one, {}, one.runs)),
        h("td", { class: "number" }, one.bytes ? bytes(one.bytes) : "not stored"),
        h("td", { class: "links" },
          one.bytes ? h("a", { href: link(["workflows", name], { tab: "source", version: one.version }) }, "Source", h("span", { class: "hidden" }, ` of ${short(one.version)}`)) : null,
          one.bytes && all[index + 1]?.bytes ? h("a", { href: link(["workflows", name], { tab: "versions", a: all[index + 1].version, b: one.version }) }, "Changes", h("span", { class: "hidden" }, ` of ${short(one.version)}`)) : null))))));
  }

  async function update(query) {
    at = query;
    const all = [...(versions() ?? [])].sort((a, b) => Number(b.serving) - Number(a.serving) || (b.first_seen ?? 0) - (a.first_seen ?? 0));
    drawTable(all);
    const kept = all.filter((one) => one.bytes > 0);
    chooser.hidden = kept.length < 2;
    if (kept.length < 2) return void fill(place, h("p", { class: "soft" }, "There is one version. When the file is saved with another text, both stand here and can be compared."));
    const choices = kept.map(label).join();
    if (from.dataset.choices !== choices) {
      from.dataset.choices = choices;
      for (const select of [from, to]) fill(select, kept.map((one) => h("option", { value: one.version }, label(one))));
    }
    const find = (side, other) => kept.find((one) => one.version === query.get(side)) ?? other;
    const second = find("b", kept[0]);
    const first = find("a", kept.find((one) => one !== second));
    from.value = first.version;
    to.value = second.version;
    beside.setAttribute("aria-pressed", String(wide()));
    const now = `${first.version} ${second.version}`;
    if (now === before) return;
    before = now;
    try {
      const [one, two] = await Promise.all([first, second].map(({ version }) => textsOf(name, version, signal)));
      if (before !== now) return;
      const files = [...new Set([...Object.keys(one.files), ...Object.keys(two.files)])].sort();
      const parts = files.map((file) => {
        const [old, fresh] = [one.files[file], two.files[file]];
        if (old === fresh) return null;
        const what = old === undefined ? `${file} (new)` : fresh === undefined ? `${file} (removed)` : file;
        return difference(old ?? "", fresh ?? "", what, { beside: wide() && old !== undefined && fresh !== undefined });
      }).filter(Boolean);
      fill(place, parts.length ? parts : h("p", { class: "soft" }, "The texts are the same: only the standard library changed, or it is the same version."));
    } catch (error) {
      before = null;
      if (!signal.aborted) fill(place, problem(error));
    }
  }

  return { element, update };
}
