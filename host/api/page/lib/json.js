// Values as trees that open.

import { copyButton } from "./copy.js";
import { fill, h } from "./dom.js";
import { brief, bytes, number } from "./format.js";

/** Entries of one array or map shown at a time. */
const PORTION = 100;
/** Characters of a text shown before one asks for the rest. */
const TEXT = 2000;

/** What stands for a longer value: `{ "$cut": BYTES, "start": TEXT }`. */
export const isCut = (value) => typeof value === "object" && value !== null && typeof value.$cut === "number" && typeof value.start === "string";

const hasCut = (value) => isCut(value) || (typeof value === "object" && value !== null && Object.values(value).some(hasCut));

/**
 * A value as a tree: `open` levels are open (1 unless given), `whole()` gives the value with nothing cut, `copy: false`
 * leaves the copy button out.
 */
export function json(value, { open = 1, whole = null, copy = true, label = "value" } = {}) {
  const tree = h("div", { class: "json-tree" });
  const node = h("div", { class: "json" }, tree);
  const context = {
    async load(button) {
      button.disabled = true;
      button.textContent = "loading …";
      try {
        value = await whole();
        draw();
        tree.querySelector("summary, button")?.focus();
      } catch (error) {
        button.disabled = false;
        button.textContent = `${error.message} Try again`;
      }
    },
    whole,
  };
  function draw() {
    fill(tree, entry(null, value, open, context));
  }
  draw();
  if (copy && typeof value === "object" && value !== null) {
    node.prepend(copyButton(async () => {
      if (hasCut(value) && whole) value = await whole();
      return JSON.stringify(value, null, 2);
    }, label));
  }
  return node;
}

const name = (key) => (key === null ? null : [h("span", { class: "json-key" }, typeof key === "number" ? String(key) : key), h("span", { class: "faint" }, ": ")]);

function entry(key, value, open, context) {
  if (isCut(value)) return cut(key, value, context);
  if (typeof value !== "object" || value === null) return h("div", { class: "json-line" }, name(key), leaf(value));
  const isArray = Array.isArray(value);
  const count = isArray ? value.length : Object.keys(value).length;
  if (!count) return h("div", { class: "json-line" }, name(key), h("span", { class: "json-punct" }, isArray ? "[]" : "{}"));
  const items = h("div", { class: "json-items" });
  const details = h("details", { class: "json-node" },
    h("summary", {}, name(key), h("span", { class: "json-brief" }, summary(value, isArray, count))), items);
  let made = false;
  const make = () => {
    if (made || !details.open) return;
    made = true;
    portion(items, value, 0, open - 1, context);
  };
  details.open = open > 0;
  details.addEventListener("toggle", make);
  make();
  return details;
}

function summary(value, isArray, count) {
  const size = isArray ? `[${number(count)}]` : `{${number(count)}}`;
  return [h("span", { class: "json-punct" }, size), " ", h("span", { class: "json-peek" }, peek(value, isArray))];
}

/** The beginning of a value on one line, without making text of all of it. */
function peek(value, isArray) {
  const parts = [];
  let length = 0;
  for (const key in value) {
    const one = value[key];
    const text = typeof one === "object" && one !== null && !isCut(one) ? (Array.isArray(one) ? "[…]" : "{…}") : brief(typeof one === "string" ? one.slice(0, 60) : one, 40);
    const part = isArray ? text : `${key}: ${text}`;
    parts.push(part);
    if ((length += part.length) > 90 || parts.length > 12) {
      parts.push("…");
      break;
    }
  }
  return parts.join(", ");
}

function portion(items, value, from, open, context) {
  const isArray = Array.isArray(value);
  const keys = isArray ? null : Object.keys(value);
  const count = isArray ? value.length : keys.length;
  const to = Math.min(count, from + PORTION);
  for (let at = from; at < to; at += 1) {
    const key = isArray ? at : keys[at];
    items.append(entry(key, value[key], open, context));
  }
  if (to >= count) return;
  const more = h("button", { type: "button", class: "quiet" }, `${number(Math.min(PORTION, count - to))} more of ${number(count)}`);
  more.addEventListener("click", () => {
    more.remove();
    portion(items, value, to, open, context);
    items.lastElementChild.focus();
  });
  items.append(more);
}

function leaf(value) {
  if (typeof value !== "string") return h("span", { class: `json-${value === null ? "null" : typeof value}` }, String(value));
  const long = value.length > TEXT;
  const node = h("span", { class: "json-string" });
  const draw = (all) => {
    const part = all ? value : value.slice(0, TEXT);
    // Text of several lines is shown as such, not with \n in it.
    if (value.includes("\n")) node.replaceChildren(h("pre", { class: "json-text" }, part));
    else fill(node, all ? JSON.stringify(value) : JSON.stringify(part).slice(0, -1));
    if (all) return;
    node.append(" ", h("button", { type: "button", class: "quiet", onclick: () => draw(true) }, `show all (${number(value.length)} characters)`));
  };
  draw(!long);
  return node;
}

function cut(key, value, context) {
  const button = context.whole && h("button", { type: "button", class: "quiet", onclick: () => context.load(button) }, `show all (${bytes(value.$cut)})`);
  return h("div", { class: "json-line" }, name(key), h("span", { class: "json-cut" }, value.start.slice(0, TEXT), "…"), " ", button || h("span", { class: "faint" }, bytes(value.$cut)));
}
