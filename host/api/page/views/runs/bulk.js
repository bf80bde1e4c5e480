// What is done to many runs at once.

import { api, part } from "../../lib/api.js";
import { dialog } from "../../lib/dialog.js";
import { h, text, toast } from "../../lib/dom.js";
import { LIVE, number } from "../../lib/format.js";

/** Requests at the same time. */
const WIDE = 6;
/** Errors that are named. */
const NAMED = 5;

const live = (run) => LIVE.includes(run.status);
const runs = (n) => (n === 1 ? "1 run" : `${number(n)} runs`);

/** Each with the runs it fits, and what it does to one. */
export const BULK = [
  { name: "cancel", label: "Cancel", fits: live, danger: true, done: "told to stop",
    text: "Their scripts get an error where they wait, can tidy up, and end as cancelled. Children are cancelled too.",
    reason: true, call: (run, body) => api.post(`/runs/${part(run.id)}/cancel`, body) },
  { name: "retry", label: "Try again", joint: ": ", fits: (run) => run.status === "failed", danger: false, done: "started again",
    text: "For each a new run takes over what was done and makes the step that failed once more.",
    call: (run) => api.post(`/runs/${part(run.id)}/retry`) },
  { name: "unpark", label: "Unpark", fits: (run) => run.status === "parked", danger: false, done: "go on",
    text: "They are replayed and go on. One whose reason is still there is parked again.",
    call: (run) => api.post(`/runs/${part(run.id)}/unpark`) },
  { name: "migrate", label: "Migrate", fits: live, danger: false, done: "have the serving version",
    text: "Each log is run against the version of its workflow that serves now. Those that fit are moved, the others stay as they are.",
    call: async (run) => {
      const answer = await api.post(`/runs/${part(run.id)}/migrate`, { dry_run: false });
      if (!answer.moved && answer.from !== answer.to) throw new Error(`it does not fit${answer.place ? ` at ${answer.place}` : ""}`);
    } },
  { name: "delete", label: "Delete", fits: (run) => !live(run), danger: true, done: "deleted",
    text: "They are removed for good, with their logs, outputs and lines.",
    call: (run) => api.remove(`/runs/${part(run.id)}`) },
];

/** Asks, and does it to those that it fits. Gives the ids it was done to, or null. */
export function bulk(action, chosen) {
  const fitting = chosen.filter(action.fits);
  const left = chosen.length - fitting.length;
  const reason = action.reason && h("input", { id: "bulk-reason", autocomplete: "off" });
  const progress = h("p", { role: "status", class: "soft" });
  return dialog({
    title: `${action.label}${action.joint ?? " "}${runs(fitting.length)}`,
    submit: `${action.label}${action.joint ?? " "}${runs(fitting.length)}`,
    danger: action.danger,
    content: h("div", { class: "stack" },
      h("p", {}, action.text),
      left ? h("p", { class: "soft" }, `${runs(left)} of those selected ${left === 1 ? "is" : "are"} in a status it does not fit, and ${left === 1 ? "stays" : "stay"} as ${left === 1 ? "it is" : "they are"}.`) : null,
      reason ? h("div", { class: "field" }, h("label", { for: "bulk-reason" }, "Reason"), reason, h("p", { class: "hint" }, "It stands in the logs.")) : null,
      progress),
    done: async () => {
      const body = { reason: reason ? reason.value.trim() : undefined };
      const done = [];
      const errors = [];
      let at = 0;
      const work = async () => {
        while (at < fitting.length) {
          const run = fitting[at];
          at += 1;
          try {
            await action.call(run, body);
            done.push(run.id);
          } catch (error) {
            errors.push(`${run.id}: ${error.message.split("\n")[0]}`);
          }
          text(progress, `${number(done.length + errors.length)} of ${number(fitting.length)} …`);
        }
      };
      await Promise.all(Array.from({ length: Math.min(WIDE, fitting.length) }, work));
      toast(`${runs(done.length)} ${action.done}`);
      if (errors.length) {
        const more = errors.length > NAMED ? `; and ${errors.length - NAMED} more` : "";
        toast(`${runs(errors.length)} not: ${errors.slice(0, NAMED).join("; ")}${more}`, { error: true });
      }
      return done;
    },
  });
}
