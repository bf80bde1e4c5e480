// What can be done to runs, workflows and schedules: each asks what it has to know, does it, and gives the answer, or null
// where it was not done.

import { api, part } from "./api.js";
import { Wrong, confirm, dialog } from "./dialog.js";
import { h, toast } from "./dom.js";
import { form } from "./form.js";
import { LIVE, bytes, time } from "./format.js";
import { go, here, link } from "./router.js";
import { migrateRun, migrateWorkflow } from "./migrating.js";
import { startRun } from "./starting.js";

export { migrateRun, migrateWorkflow, startRun };

const of = (run, what) => `/runs/${part(run.id)}${what ? `/${what}` : ""}`;
const naming = (run) => h("p", { class: "soft" }, "Run ", h("span", { class: "mono" }, run.id), ` of ${run.workflow}`);

/** Does it without asking; says the result. */
async function atOnce(done, call) {
  try {
    const answer = await call();
    toast(done);
    return answer ?? true;
  } catch (error) {
    toast(error.message, { error: true });
    return null;
  }
}

/** Sends a signal. `name`: the one that is offered first, where the caller knows what the run waits for. */
export async function signalRun(run, { name } = {}) {
  const waited = [...new Set((run.waiting_for ?? []).filter((wait) => wait.kind === "signal").map((wait) => wait.name))];
  const box = h("input", { id: "signal-name", list: "signal-names", required: true, autocomplete: "off", autofocus: true, value: name ?? waited[0] ?? "" });
  const id = h("input", { id: "signal-id", autocomplete: "off" });
  const schemas = new Map((run.waiting_for ?? []).filter((wait) => wait.kind === "signal").map((wait) => [wait.name, wait.schema]));
  const payload = form(schemas.get(box.value), { label: "Payload" });
  return dialog({
    title: "Send a signal",
    submit: "Send",
    content: h("div", { class: "stack" }, naming(run),
      h("div", { class: "field" }, h("label", { for: "signal-name" }, "Name"), box,
        h("datalist", { id: "signal-names" }, waited.map((one) => h("option", { value: one }))),
        h("p", { class: "hint" }, waited.length
          ? ["The run waits for ", waited.map((one, at) => [at ? ", " : "", h("button", {
            type: "button", class: "link mono", onclick: () => (box.value = one) }, one)]), "."]
          : "The run waits for no signal now. It keeps what is sent until it asks for it.")),
      payload.element,
      h("details", { class: "more" }, h("summary", {}, "Deliver once"),
        h("div", { class: "field" }, h("label", { for: "signal-id" }, "Id"), id,
          h("p", { class: "hint" }, "A signal with an id that was sent before is not delivered again.")))),
    done: async () => {
      if (!box.value.trim()) {
        box.focus();
        throw new Wrong("Give the name of the signal.");
      }
      const body = { name: box.value.trim(), payload: payload.read() ?? null };
      if (id.value.trim()) body.id = id.value.trim();
      const answer = await api.post(of(run, "signal"), body);
      toast(`Signal ${body.name} sent`);
      return answer;
    },
  });
}

/** Answers a question of the run: `suspension`, or the one that is open, or that which is chosen of several. */
export async function resumeRun(run, suspension) {
  let open = suspension ? [suspension] : null;
  try {
    open ??= (await api.get(of(run, "suspensions"))).suspensions;
  } catch (error) {
    toast(error.message, { error: true });
    return null;
  }
  if (!open.length) {
    toast("The run asks nobody at this moment.", { error: true });
    return null;
  }
  let chosen = open[0];
  let answer;
  const place = h("div", { class: "stack" });
  const ask = () => {
    answer = form(chosen.schema ?? undefined, { label: "Answer" });
    place.replaceChildren(
      ...(chosen.payload === null ? [] : [h("div", { class: "field" }, h("span", { class: "label" }, "What it asks"), shown(chosen.payload))]),
      h("p", { class: "soft" }, "Since ", time(chosen.since), chosen.until ? [", open until ", time(chosen.until)] : null),
      answer.element);
  };
  ask();
  const choice = open.length > 1 && h("div", { class: "field" }, h("label", { for: "question" }, "Question"),
    h("select", { id: "question", onchange: (event) => ((chosen = open[event.target.selectedIndex]), ask()) },
      open.map((one) => h("option", {}, `${one.label ?? "step"} (${one.step_id})`))));
  return dialog({
    title: open.length > 1 ? "Answer" : `Answer ${chosen.label ? `“${chosen.label}”` : "the question"}`,
    submit: "Answer",
    content: h("div", { class: "stack" }, naming(run), choice, place),
    done: async () => {
      const data = answer.read();
      try {
        const done = await api.post(of(run, "resume"), { label: chosen.label ?? chosen.step_id, data: data ?? null });
        toast("Answered; the run goes on");
        return done;
      } catch (error) {
        if (error.status === 400 && answer.show(error.message)) throw new Wrong("The answer does not fit; see the marked fields.");
        throw error;
      }
    },
  });
}

/** A payload for people: maps as a list of facts, other values as JSON. */
function shown(value) {
  const one = (inner) => (typeof inner === "string" ? h("span", { class: "prewrap" }, inner) : h("code", { class: "prewrap" }, JSON.stringify(inner, null, 2)));
  if (value && typeof value === "object" && "$cut" in value) {
    return h("p", {}, h("code", { class: "prewrap" }, `${value.start} …`), h("span", { class: "faint" }, ` (${bytes(value.$cut)}; whole in the log)`));
  }
  if (!value || typeof value !== "object" || Array.isArray(value)) return h("div", { class: "card" }, one(value));
  return h("dl", { class: "facts card" }, Object.entries(value).map(([name, inner]) => [h("dt", {}, name), h("dd", {}, one(inner))]));
}

function reasoned({ run, title, text, submit, route, done, danger }) {
  const reason = h("input", { id: "reason", autocomplete: "off", autofocus: true });
  return dialog({
    title, submit, danger,
    content: h("div", { class: "stack" }, naming(run), h("p", {}, text),
      h("div", { class: "field" }, h("label", { for: "reason" }, "Reason"), reason, h("p", { class: "hint" }, "It stands in the run's log."))),
    done: async () => {
      const answer = await api.post(of(run, route), { reason: reason.value.trim() });
      toast(done);
      return answer;
    },
  });
}

/** Cancels: the script may tidy up. */
export const cancelRun = (run) => reasoned({
  run, title: "Cancel the run", submit: "Cancel the run", route: "cancel", done: "The run is told to stop", danger: true,
  text: "The script gets an error where it waits. It can tidy up (undo steps, tell somebody) and then ends as cancelled. Children are cancelled too.",
});

/** Ends it without the script. */
export const terminateRun = (run) => reasoned({
  run, title: "Terminate the run", submit: "Terminate", route: "terminate", done: "The run is ended", danger: true,
  text: "The run ends at once and nothing of its script runs any more: nothing is undone, no finally or catch is run, what its steps have begun stays as it is. Use cancel unless the script itself is what is wrong.",
});

/** Tries a failed run again, as a new run, and goes there. */
export async function retryRun(run) {
  let next = null;
  await confirm({
    title: "Try the run again", submit: "Try again", danger: false,
    text: `A new run takes over what was done and makes the step that failed once more, with the same idempotency keys. ${run.id} stays as it is.`,
    done: async () => {
      next = await api.post(of(run, "retry"));
      toast(`Run ${next.id} started`);
      go(link(["runs", next.id]));
    },
  });
  return next;
}

/** Lets a parked run go on. */
export const unparkRun = (run) => atOnce("The run goes on", () => api.post(of(run, "unpark")));

/** Removes a run that has ended, with all that is known of it. */
export async function deleteRun(run) {
  const done = await confirm({
    title: "Delete the run", submit: "Delete",
    text: `Run ${run.id} with its log, its output and its lines is removed for good. Export it before if somebody may ask for it.`,
    done: () => api.remove(of(run)),
  });
  if (!done) return null;
  toast(`Run ${run.id} deleted`);
  const { path } = here();
  if (path[0] === "runs" && path[1] === run.id) go("#/runs");
  return true;
}

/** Saves what `durhai export` writes. */
export function exportRun(run) {
  const children = h("input", { type: "checkbox", id: "export-children" });
  return dialog({
    title: "Export the run", submit: "Save the file",
    content: h("div", { class: "stack" }, naming(run),
      h("p", {}, "One file with the log and the texts of the scripts. `durhai import` takes it, and `durhai replay` looks into it without a store. It holds every input and output; tokens of hooks are left out."),
      h("div", { class: "field inline" }, children, h("label", { for: "export-children" }, "with the runs it started"))),
    done: async () => {
      const blob = await api.blob(of(run, "export"), { query: { children: children.checked ? "true" : null } });
      save(blob, `${run.id.replace(/[^\w.-]+/g, "_")}.durhai`);
      return true;
    },
  });
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const anchor = h("a", { href: url, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Another run of the same workflow with the same input, which can be changed before. */
export async function startAgain(run) {
  try {
    const full = await api.get(of(run));
    const view = await api.get(`/workflows/${part(run.workflow)}`);
    return await startRun(view, { input: full.input, tags: full.tags });
  } catch (error) {
    toast(error.message, { error: true });
    return null;
  }
}

/** A new run with a part of this one's log. `at`, `after`: the step that is chosen first. */
export async function forkRun(run, where = {}) {
  const { openFork } = await import("../views/run/fork.js");
  return openFork(run, where);
}

const schedule = (name, what) => `/schedules/${part(name)}/${what}`;

/** Starts a run of a schedule now; its times stay. */
export async function triggerSchedule(view) {
  try {
    const run = await api.post(schedule(view.workflow, "trigger"));
    toast(`Run ${run.id} started.`, { link: h("a", { href: link(["runs", run.id]) }, "Go there") });
    return run;
  } catch (error) {
    toast(error.message, { error: true });
    return null;
  }
}

export const pauseSchedule = (view) => atOnce(`${view.workflow} is paused`, () => api.post(schedule(view.workflow, "pause")));
export const resumeSchedule = (view) => atOnce(`${view.workflow} goes on`, () => api.post(schedule(view.workflow, "resume")));

/**
 * What fits the status of a run, the likeliest first: `[{ name, label, key, danger, primary, run() }]`. At most one is primary.
 */
export function actionsFor(run) {
  const live = LIVE.includes(run.status);
  const waits = (kind) => (run.waiting_for ?? []).some((wait) => wait.kind === kind);
  const list = [];
  const offer = (name, label, key, call, more = {}) => list.push({ name, label, key, danger: false, primary: false, ...more, run: () => call(run) });
  if (waits("suspend") || run.status === "suspended") offer("resume", "Answer", "a", (it) => resumeRun(it), { primary: true });
  if (run.status === "parked") offer("unpark", "Unpark", "u", unparkRun, { primary: true });
  // A run is tried again once: the head names the one that does.
  if (run.status === "failed" && !run.retried_as) offer("retry", "Try again", "t", retryRun, { primary: true });
  if (live) offer("signal", "Signal", "s", (it) => signalRun(it), { primary: waits("signal") && !list.some((other) => other.primary) });
  offer("fork", "Fork", "f", (it) => forkRun(it));
  if (live) offer("migrate", "Migrate", "m", migrateRun);
  if (!live) offer("again", "Start again", "n", startAgain);
  offer("export", "Export", "e", exportRun);
  if (live) {
    offer("cancel", "Cancel", "c", cancelRun, { danger: true });
    offer("terminate", "Terminate", "x", terminateRun, { danger: true });
  } else offer("delete", "Delete", "d", deleteRun, { danger: true });
  return list;
}

