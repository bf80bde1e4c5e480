// The texts of a version, file by file, with the lines at which live runs wait.

import { api, part } from "../../lib/api.js";
import { code } from "../../lib/code.js";
import { problem } from "../../lib/dialog.js";
import { fill, h } from "../../lib/dom.js";
import { LIVE, bytes, moment, number, short } from "../../lib/format.js";
import { go, link } from "../../lib/router.js";

/** Live runs that are asked where they wait. */
const LOOK = 200;

const texts = new Map();

/** The texts of a version never change: asked for once. */
export async function textsOf(name, version, signal) {
  const known = `${name} ${version}`;
  if (!texts.has(known)) {
    const answer = await api.get(`/workflows/${part(name)}/versions/${part(version)}`, { signal });
    if (texts.size > 20) texts.clear();
    texts.set(known, answer);
  }
  return texts.get(known);
}

/** A version in a list of choices. */
export const label = (one) => [short(one.version), one.serving ? "serves" : null, one.first_seen ? moment(one.first_seen) : null, one.live ? `${number(one.live)} live` : null].filter(Boolean).join(" · ");

/** The own file first, then the folder's, then those of the standard library. */
const order = (name) => (a, b) => rank(a, name) - rank(b, name) || (a < b ? -1 : 1);
const rank = (file, name) => (file === `${name}.rhai` ? 0 : file.startsWith("std/") ? 2 : 1);

export function sourcePanel({ name, versions, signal }) {
  const select = h("select", { id: "source-version", onchange: () => go(link(["workflows", name], { tab: "source", version: select.value })) });
  const files = h("div", { class: "row", role: "group", "aria-label": "File" });
  const size = h("span", { class: "faint" });
  const copy = h("button", { type: "button", class: "quiet" }, "Copy");
  const place = h("div", {});
  const element = h("div", { class: "stack" },
    h("div", { class: "row" }, h("label", { for: "source-version" }, "Version"), select, files, size, copy), place);
  let before = null;
  let text = "";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text).catch(() => {});
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });

  async function update(query) {
    const all = (versions() ?? []).filter((one) => one.bytes > 0);
    const wanted = query.get("version");
    const chosen = all.find((one) => one.version === wanted) ?? all.find((one) => wanted && one.version.startsWith(wanted)) ?? all.find((one) => one.serving) ?? all[0];
    if (!chosen) return void fill(place, h("div", { class: "empty" }, h("h2", {}, "No text of it ever loaded"), h("p", {}, "As soon as its file compiles, its source stands here.")));
    const choices = all.map(label).join();
    if (select.dataset.choices !== choices) {
      select.dataset.choices = choices;
      fill(select, all.map((one) => h("option", { value: one.version }, label(one))));
    }
    select.value = chosen.version;
    const now = `${chosen.version} ${query.get("file") ?? ""}`;
    if (now === before) return;
    before = now;
    let found;
    try {
      found = await textsOf(name, chosen.version, signal);
    } catch (error) {
      before = null;
      return void (signal.aborted || fill(place, problem(error)));
    }
    if (before !== now) return;
    const names = Object.keys(found.files).sort(order(name));
    const file = names.includes(query.get("file")) ? query.get("file") : names[0];
    text = found.files[file];
    fill(files, names.map((one) => h("button", { type: "button", "aria-pressed": String(one === file), onclick: () => go(link(["workflows", name], { tab: "source", version: query.get("version"), file: one })) }, one)));
    fill(size, bytes(new TextEncoder().encode(text).length));
    const source = code(text, { label: file });
    source.classList.add("tall");
    fill(place, source);
    const line = Number(query.get("line"));
    if (line) source.reveal(line);
    const waits = await waiting(chosen.version);
    if (before === now) source.mark(waits.get(file) ?? []);
  }

  /** By file the lines at which live runs of the version wait. */
  async function waiting(version) {
    const page = await api.get("/runs", { query: { workflow: name, version, status: LIVE, limit: LOOK, value_bytes: 16 }, signal }).catch(() => null);
    const lines = new Map();
    for (const run of page?.runs ?? []) {
      const sites = new Set((run.waiting_for ?? []).map((wait) => wait.site).filter(Boolean));
      for (const site of sites) {
        const parts = site.split(":");
        const line = Number(parts.at(-2));
        const module = parts.slice(0, -2).join(":") || name;
        const file = module.startsWith("std/") || module.endsWith(".rhai") ? module : `${module}.rhai`;
        const key = `${file}\n${line}`;
        lines.set(key, (lines.get(key) ?? 0) + 1);
      }
    }
    const marks = new Map();
    for (const [key, runs] of lines) {
      const [file, line] = key.split("\n");
      const more = page.next ? "at least " : "";
      marks.set(file, [...(marks.get(file) ?? []), { line: Number(line), kind: "waiting", text: `${more}${number(runs)} live ${runs === 1 ? "run waits" : "runs wait"} here` }]);
    }
    return marks;
  }

  return { element, update };
}
