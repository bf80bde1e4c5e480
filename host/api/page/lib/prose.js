// Descriptions, as scripts and schemas write them: paragraphs between empty lines, lists, `code`. Line breaks within a paragraph
// are those of the file, so they are not kept.

import { h } from "./dom.js";

/** The description as elements; null where there is none. */
export function prose(text, kind = "prose") {
  if (!text?.trim()) return null;
  return h("div", { class: kind }, text.trim().split(/\n\s*\n/).map((block) => {
    const lines = block.split("\n");
    const items = [];
    const before = [];
    for (const line of lines) {
      if (/^\s*[-*] /.test(line)) items.push(line.replace(/^\s*[-*] /, ""));
      else if (items.length) items[items.length - 1] += ` ${line.trim()}`;
      else before.push(line.trim());
    }
    return [
      before.length ? h("p", {}, inline(before.join(" "))) : null,
      items.length ? h("ul", {}, items.map((item) => h("li", {}, inline(item)))) : null,
    ];
  }));
}

/** The first paragraph, for lists. */
export const summary = (text) => inline((text ?? "").trim().split(/\n\s*\n/)[0].split("\n").map((line) => line.trim()).join(" "));

function inline(text) {
  return text.split(/(`[^`]+`)/).map((part) => (part.length > 2 && part.startsWith("`") ? h("code", {}, part.slice(1, -1)) : part));
}
