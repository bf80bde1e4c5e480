// Dialogs: the browser's own, so that focus, Escape and screen readers work as everywhere.

import { Problem } from "./api.js";
import { fill, h } from "./dom.js";

/** What the user has to put right before it can be sent: its text is shown as it is. */
export class Wrong extends Error {}

/** What `done` of a dialog gives when it is to stay open all the same. */
export const STAY = Symbol("stay");

/**
 * Shows a form in a dialog. `done(form)` is called when it is sent; what it throws is shown in the dialog, which then stays
 * open. Resolves with what `done` gives, or null if it was closed. `wide` for editors, `danger` for what cannot be undone.
 */
export function dialog({ title, content, submit = "OK", done, wide = false, danger = false, closable = true }) {
  return new Promise((resolve) => {
    const wrong = h("div", { role: "alert" });
    const send = h("button", { class: danger ? "danger" : "primary", type: "submit" }, submit);
    // Where something is cancelled, a button "Cancel" would say two things.
    const back = submit.startsWith("Cancel") ? "Back" : "Cancel";
    const heading = `dialog-${Math.random().toString(36).slice(2)}`;
    const form = h("form", { method: "dialog", novalidate: true },
      h("h2", { id: heading }, title), content,
      h("div", { class: "foot" }, wrong, h("div", { class: "buttons" },
        closable && h("button", { type: "button", onclick: () => node.close() }, back), send)));
    const node = h("dialog", { class: wide ? "wide" : null, "aria-labelledby": heading }, form);
    let result = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fill(wrong);
      send.disabled = true;
      try {
        const came = (await done(form)) ?? true;
        if (came === STAY) return;
        result = came;
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
  const known = error instanceof Problem || error instanceof Wrong;
  if (!known) console.error(error);
  const text = known ? error.message : `The page has a fault: ${error.message}`;
  const [first, ...rest] = text.split("\n");
  return h("div", { class: "notice bad" }, h("p", {}, first), rest.length ? h("pre", {}, rest.join("\n")) : null);
}
