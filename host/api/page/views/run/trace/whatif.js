// Looking at a run as it would have been: with other results, or another script. Nothing is written.

import { Wrong, dialog } from "../../../lib/dialog.js";
import { h } from "../../../lib/dom.js";
import { exact, whyNot } from "../../../lib/exact.js";
import { scripts } from "../../../lib/scripts.js";
import { resultOf } from "../steps.js";

const RESULTS = new Set(["step_completed", "child_completed", "resumed", "signal_received", "hook_received", "step_failed", "child_failed"]);

/** Asks for another result of a step. Gives `{ value }`, or null. */
export async function askResult(feed, step, set) {
  const area = h("textarea", { id: "whatif-result", rows: 8, spellcheck: "false", autofocus: true, placeholder: "JSON" });
  const event = feed.events.findLast((one) => one.step_id === step && RESULTS.has(one.type));
  if (set.has(step)) area.value = JSON.stringify(set.get(step), null, 2);
  else if (event) {
    feed.event(event.seq).then((whole) => {
      const value = resultOf(whole);
      if (!area.value && value !== undefined) area.value = JSON.stringify(value, null, 2);
    }).catch(() => {});
  }
  let value;
  const done = await dialog({
    title: `What if ${step} had come to something else?`,
    submit: "Look",
    content: h("div", { class: "field" }, h("label", { for: "whatif-result" }, "Result (JSON)"), area,
      h("p", { class: "hint" }, "The log is run again with this, as far as it fits. Nothing is written; fork the run to go on with it.")),
    done: () => {
      try {
        value = exact(area.value);
      } catch (error) {
        throw new Wrong(whyNot(error));
      }
      return true;
    },
  });
  return done ? { value } : null;
}

/** Asks for another script. Gives `{ script, files }` (undefined, {} where nothing was changed), or null. */
export async function askScript(feed, files, edited) {
  let node;
  const pens = scripts(files, { main: `${feed.run.workflow}.rhai`, edited, submit: () => node.closest("form").requestSubmit() });
  node = pens.element;
  const done = await dialog({
    title: "What if the script were another one?", wide: true, submit: "Look",
    content: h("div", { class: "stack" }, node, h("p", { class: "soft" }, "The log is run again with this text. Nothing is written; fork the run to go on with it.")),
    done: () => true,
  });
  return done ? { script: pens.script(), files: pens.files() } : null;
}
