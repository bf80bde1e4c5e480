// Copying text.

import { h, say, toast } from "./dom.js";

const SHEETS = "M5.5 4.5V3a1 1 0 0 1 1-1H13a1 1 0 0 1 1 1v6.500a1 1 0 0 1-1 1h-1.500M3 5.500h6.500a1 1 0 0 1 1 1V13a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1V6.500a1 1 0 0 1 1-1z";
const TICK = "M3 8.500l3.500 3.500L13 4.500";

const icon = (path) => h("svg", { viewBox: "0 0 16 16", width: 14, height: 14, fill: "none", stroke: "currentColor", "stroke-width": 1.4, "aria-hidden": "true" }, h("path", { d: path }));

/** Puts text on the clipboard. Where the page may not (plain HTTP beyond loopback), the old way is taken. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = h("textarea", { class: "hidden", readonly: true, value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("The browser does not allow copying.");
  }
}

/** A button that copies; `text` is a string or a function that gives one, or a promise of one. `name` says what is copied. */
export function copyButton(text, name) {
  const button = h("button", { type: "button", class: "quiet icon copy", "aria-label": `Copy ${name}`, title: `Copy ${name}` }, icon(SHEETS));
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    event.preventDefault();
    try {
      await copy(typeof text === "function" ? await text() : text);
      button.replaceChildren(icon(TICK));
      say(`Copied ${name}`);
    } catch (error) {
      toast(error.message, { error: true });
    }
    setTimeout(() => button.replaceChildren(icon(SHEETS)), 1200);
  });
  return button;
}
