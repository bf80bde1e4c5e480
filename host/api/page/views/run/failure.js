// An error as the host gives it: what went wrong, where, in which line, and why.

import { fill, h } from "../../lib/dom.js";
import { number } from "../../lib/format.js";
import { json } from "../../lib/json.js";
import { link } from "../../lib/router.js";
import { placeLink } from "./place.js";

/** Characters of a message that are shown before one asks for the rest. */
const LONG = 2000;

/** A text that may be very long. */
export function long(text) {
  if (text.length <= LONG) return text;
  const node = h("span", {}, text.slice(0, LONG), "… ", h("button", { type: "button", class: "small", onclick: () => fill(node, text) },
    `show all (${number(text.length)} characters)`));
  return node;
}

/** A failure of `run`, with its causes. `whole()` gives it with nothing cut; `of` is the call that it is shown with. */
export function failure(error, { run, whole = null, of = null }) {
  const chain = [];
  for (let one = error; one; one = one.cause) chain.push(one);
  return h("div", { class: "failure" }, chain.map((one, depth) => h("div", { class: depth ? "failure-cause" : null },
    h("p", {}, depth ? h("span", { class: "faint" }, "because ") : null, h("span", { class: "failure-kind" }, one.kind), " ", long(one.message.split("\n")[0])),
    // What follows is mostly a line of a script with a caret: it must not wrap.
    one.message.includes("\n") ? h("pre", { class: "quote", tabindex: "0" }, one.message.slice(one.message.indexOf("\n") + 1)) : null,
    (one.step || one.step_id || one.attempts > 1) && (of === null || one.step_id !== of) ? h("p", { class: "soft" },
      one.step ? ["in step ", h("code", {}, one.step)] : one.step_id ? "in call" : null,
      one.step_id ? [" ", h("a", { class: "mono", href: link(["runs", run.id], { step: one.step_id }) }, one.step_id)] : null,
      one.attempts > 1 ? `, after ${one.attempts} attempts` : null) : null,
    one.place ? where(one.place, run) : null,
    one.data === undefined || one.data === null ? null : h("div", { class: "run-value" }, json(one.data, { whole: whole && (async () => nth(await whole(), depth)?.data), label: "the data of the error" })))));
}

function nth(error, depth) {
  for (; depth > 0; depth -= 1) error = error?.cause;
  return error;
}

/** The line of the script with a caret, and the calls that led to it. */
function where(place, run) {
  return [
    h("p", {}, "at ", placeLink(run, place), h("span", { class: "faint" }, `, column ${place.column}`)),
    place.source ? quote(place.source, place.line, place.column) : null,
    place.stack?.length ? h("ul", { class: "soft" }, place.stack.map((frame) => h("li", {}, "in ", h("code", {}, frame.function), ", called at ", placeLink(run, frame)))) : null,
  ];
}

/** A line of source, its number before it, a caret below the column. */
export function quote(source, line, column = null) {
  const number = String(line ?? "");
  const pad = column === null ? null : [...source].slice(0, column - 1).map((c) => (c === "\t" ? "\t" : " ")).join("");
  return h("pre", { class: "quote", tabindex: "0" }, h("span", { class: "faint" }, `${number} │ `), source.trimEnd(),
    pad === null ? null : [`\n${" ".repeat(number.length)} `, h("span", { class: "faint" }, "│ "), pad, h("span", { class: "caret" }, "^")]);
}

