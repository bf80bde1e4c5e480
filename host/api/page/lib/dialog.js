// Dialogs: the browser's own, so that focus, Escape and screen readers work as everywhere.

import { Problem } from "./api.js";
import { fill, h } from "./dom.js";

/**
 * Shows a form in a dialog. `done(form)` is called when it is sent; what it throws is shown in the dialog, which then stays
 * open. Resolves with what `done` gives, or null if it was closed. `wide` for editors, `danger` for what cannot be undone.
 */
export function dialog({ title, content, submit = "OK", done, wide = false, danger = false, closable = true }) {
  return new Promise((resolve) => {
    const wrong = h("div", { role: "alert" });
    const send = h("button", { class: danger ? "danger" : "primary", type: "submit" }, submit);
    const heading = `dialog-${Math.random().toString(36).slice(2)}`;
    const form = h("form", { method: "dialog", novalidate: true },
      h("h2", { id: heading }, title), content, wrong,
      h("div", { class: "buttons" },
        closable && h("button", { type: "button", onclick: () => node.close() }, "Cancel"), send));
    const node = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": heading }, form);
    let result = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fill(wrong);
      send.disabled = true;
      try {
        result = (await done(form)) ?? true;
        node.close();
      } catch (error) {
        fill(wrong, problem(error));
      } finally {
        send.disabled = false;
      }
    });
    if (!closable) node.addEventListener("cancel", (event) => event.preventDefault());
    node.addEventListener("close", () => {
      node.remove();
      resolve(result);
    });
    document.body.append(node);
    node.showModal();
  });
}

/** Asks before something is done; true if it was done. */
export async function confirm({ title, text, submit, danger = true, done }) {
  const answer = await dialog({ title, content: h("p", {}, text), submit, danger, done });
  return answer !== null;
}

/** An error as it is shown anywhere: what was wrong, with the lines of a script as they are. */
export function problem(error) {
  if (!(error instanceof Problem)) console.error(error);
  const text = error instanceof Problem ? error.message : `The page has a fault: ${error.message}`;
  const [first, ...rest] = text.split("\n");
  return h("div", { class: "notice bad" }, h("p", {}, first), rest.length ? h("pre", {}, rest.join("\n")) : null);
}
