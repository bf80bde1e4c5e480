// What the script and its steps wrote: `print`, `log`, and what programs said on stderr.

import { h, text, throttle } from "../../lib/dom.js";
import { brief, number, precise, utc } from "../../lib/format.js";
import { json } from "../../lib/json.js";
import { link } from "../../lib/router.js";
import { virtual } from "../../lib/virtual.js";
import { toEnd } from "./end.js";
import { long } from "./failure.js";

const LEVELS = ["debug", "info", "warn", "error"];

export function panel({ id, feed, signal }) {
  let list = [];
  let taken = 0;
  let filter = { level: 0, text: "" };
  const open = new Set();
  const level = h("select", { "aria-label": "Least level", onchange: () => look() }, LEVELS.map((name, at) => h("option", { value: at }, at ? `${name} and above` : "All levels")));
  const search = h("input", { type: "search", placeholder: "Text", "aria-label": "Text in lines", size: 16 });
  const followed = h("input", { type: "checkbox", checked: feed.live });
  const state = h("span", { class: "faint tl-count", role: "status" });
  const empty = h("div", { class: "empty", hidden: true });
  const rows = virtual({
    count: 0, height: 25, measure: true, label: "Lines of the script's log", key: (index) => list[index]?.index ?? index,
    row: (index) => make(list[index]), open: (index) => toggle(list[index].index),
  });
  rows.element.classList.add("log-rows");
  const element = h("div", { class: "log" },
    h("div", { class: "row log-tools" }, state, level, search, h("label", { class: "row" }, followed, "Follow the end")), empty, rows.element);

  const has = (line) => line.fields !== undefined && line.fields !== null;

  function make(line) {
    const opened = open.has(line.index);
    return h("div", { class: `line-row is-${line.level}`, "aria-expanded": has(line) ? String(opened) : null },
      h("time", { class: "log-at", datetime: utc(line.at), title: `${utc(line.at)} (UTC)` }, precise(line.at)),
      h("span", { class: "line-level mono" }, line.level),
      h("div", { class: "line-message" }, h("span", {}, long(line.message)),
        has(line) && !opened ? h("button", { type: "button", class: "quiet mono line-fields", onclick: () => toggle(line.index) }, brief(line.fields, 160)) : null,
        has(line) && opened ? json(line.fields, { open: 2, label: "the fields", whole: async () => (await whole(line)).fields }) : null),
      line.step_id ? h("a", { class: "mono line-step", href: link(["runs", id], { step: line.step_id }), title: line.attempt ? `Written by attempt ${line.attempt} of step ${line.step_id}` : `After call ${line.step_id}` },
        `${line.step_id}${line.attempt ? ` #${line.attempt}` : ""}`) : h("span", {}));
  }

  async function whole(line) {
    const { api } = await import("../../lib/api.js");
    return (await api.get(`${feed.path}/logs`, { query: { from: line.index, limit: 1 }, signal })).lines[0];
  }

  function toggle(index) {
    if (open.has(index)) open.delete(index);
    else open.add(index);
    rows.refresh();
  }

  function look() {
    filter = { level: Number(level.value), text: search.value.trim().toLowerCase() };
    list = [];
    taken = 0;
    take();
  }

  function take() {
    const { lines } = feed;
    for (; taken < lines.length; taken += 1) {
      const line = lines[taken];
      const fits = LEVELS.indexOf(line.level) >= filter.level || (filter.level === 0);
      if (fits && (!filter.text || `${line.message} ${has(line) ? JSON.stringify(line.fields) : ""}`.toLowerCase().includes(filter.text))) list.push(line);
    }
    rows.update(list.length);
    text(state, list.length === lines.length ? `${number(lines.length)} lines` : `${number(list.length)} of ${number(lines.length)} lines`);
    empty.hidden = list.length > 0 || !feed.linesComplete;
    text(empty, lines.length ? "No line fits." : "It has written nothing yet. print(…) and log(level, message, fields) write here.");
    if (followed.checked && list.length && !element.closest("[hidden]")) toEnd(rows);
  }

  search.addEventListener("input", throttle(200, look));
  followed.addEventListener("change", () => followed.checked && list.length && toEnd(rows));
  rows.element.addEventListener("wheel", (event) => event.deltaY < 0 && (followed.checked = false), { passive: true });
  feed.addEventListener("lines", take, { signal });
  feed.wantLines();
  return { element, shown: () => requestAnimationFrame(take), update: take };
}
