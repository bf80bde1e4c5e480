// Copying text.

import { h, say, toast } from "./dom.js";

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
  const button = h("button", { type: "button", class: "quiet icon copy", "aria-label": `Copy ${name}`, title: `Copy ${name}` }, "⧉");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    event.preventDefault();
    try {
      await copy(typeof text === "function" ? await text() : text);
      button.textContent = "✓";
      say(`Copied ${name}`);
    } catch (error) {
      toast(error.message, { error: true });
    }
    setTimeout(() => (button.textContent = "⧉"), 1200);
  });
  return button;
}
