// What is known of one call, beside the timeline.

import { api, part } from "../../../lib/api.js";
import { fill, h } from "../../../lib/dom.js";
import { duration, precise, status, time, relative, whole } from "../../../lib/format.js";
import { json } from "../../../lib/json.js";
import { link } from "../../../lib/router.js";
import { failure } from "../failure.js";
import { doing } from "../now.js";
import { placeLink } from "../place.js";
import { isOpen } from "./model.js";
import { kindOf, lasted, nameOf, stateWord } from "./names.js";

/** The element for a call; `close` is what its button does. */
export function detail(call, { feed, places, close, signal }) {
  const { run } = feed;
  const all = (seq, field) => async () => (await feed.event(seq))?.[field];
  const value = (label, what, seq, field) => what === undefined ? null : h("section", {}, h("h3", {}, label),
    h("div", { class: "run-value" }, json(what, { whole: seq ? all(seq, field) : null, label: label.toLowerCase() })));
  const node = h("aside", { class: "tl-detail card", "aria-label": `Call ${call.id}` });
  const fact = (name, ...what) => [h("dt", {}, name), h("dd", {}, what)];
  const child = call.run_id ? h("span", {}, h("a", { class: "mono", href: link(["runs", call.run_id]) }, call.run_id), " ") : null;
  if (child) {
    api.get(`/runs/${part(call.run_id)}`, { query: { value_bytes: 16 }, signal }).then((one) => child.append(status(one.status))).catch(() => {});
  }
  fill(node,
    h("div", { class: "row" }, h("h2", {}, kindOf(call) ? h("span", { class: "faint" }, `${kindOf(call)} `) : null, nameOf(call, places)),
      h("button", { type: "button", class: "quiet icon tl-close", "aria-label": "Close the details", onclick: close }, "×")),
    h("dl", { class: "facts" },
      fact("Call", h("code", {}, call.id), call.label && call.name ? [" ", h("span", { class: "faint" }, call.name)] : null),
      fact("State", h("span", { class: `tl-state ${call.state}` }, stateWord(call.state))),
      call.site ? fact("At", placeLink(run, call.site)) : null,
      fact("Began", time(call.from, precise), " ", h("span", { class: "faint" }, call.seq ? "" : "about")),
      call.to !== null ? fact("Ended", time(call.to, precise)) : null,
      fact(call.to !== null ? "Took" : "So far", duration(lasted(call, Date.now()))),
      isOpen(call) && call.until ? fact("Until", time(call.until, whole), " (", time(call.until, relative), ")") : null,
      child ? fact("Run", child) : null,
      call.url ? fact("Address", h("code", {}, call.url)) : null,
      call.seq || call.done ? fact("Log", [call.seq, call.done].filter(Boolean).filter((seq, at, list) => list.indexOf(seq) === at).map((seq) => [h("a", { href: link(["runs", run.id], { tab: "log", seq }) }, `event ${seq}`), " "])) : null),
    call.error && !(call.attempts?.length > 1) ? failure(call.error, { run, of: call.id, whole: call.done ? all(call.done, "error") : null }) : null,
    call.attempts?.length > 1 ? attempts(call, run) : null,
    value(call.kind === "suspend" ? "What it shows" : "Input", call.input, call.seq, call.kind === "suspend" ? "payload" : "input"),
    value({ signal: "Payload", suspend: "Answer" }[call.kind] ?? "Output", call.output, call.done, { signal: "payload", suspend: "data" }[call.kind] ?? "output"),
    h("div", { class: "row" }, doing("Fork from here …", async () => (await import("../fork.js")).openFork(run, { at: call.id }), feed)));
  return node;
}

/** What came to the run from outside, as a list. */
export function outside(model, { feed, close }) {
  return h("aside", { class: "tl-detail card", "aria-label": "What came from outside" },
    h("div", { class: "row" }, h("h2", {}, "What came from outside"), h("button", { type: "button", class: "quiet icon tl-close", "aria-label": "Close the details", onclick: close }, "×")),
    model.marks.length ? h("ol", { class: "tl-attempts" }, model.marks.slice(-200).map(({ at, text, seq }) => h("li", {}, text, " ",
      h("span", { class: "faint" }, time(at, precise), ", ", h("a", { href: link(["runs", feed.id], { tab: "log", seq }) }, `event ${seq}`)))))
      : h("p", { class: "soft" }, "Nothing: no signal, no request to cancel, no move to another version."));
}

/** Each attempt with its result; the middle ones of many are left out. */
function attempts(call, run) {
  const list = call.attempts.length > 12 ? [...call.attempts.slice(0, 4), null, ...call.attempts.slice(-8)] : call.attempts;
  return h("section", {}, h("h3", {}, `${call.attempts.length} attempts`), h("ol", { class: "tl-attempts" }, list.map((one) => one === null
    ? h("li", { class: "faint" }, `${call.attempts.length - 12} more in the log`)
    : h("li", {}, h("p", {}, h("span", { class: `tl-state ${one.state}` }, `${one.number}. ${stateWord(one.state)}`), " ",
      h("span", { class: "faint" }, time(one.from, precise), ", ", one.to === null ? "runs" : duration(one.to - one.from))),
    one.error ? failure(one.error, { run, of: call.id }) : null))));
}
