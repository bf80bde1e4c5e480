// A new run that takes over a part of this one's log: from which step on, with which results, under which text.

import { api, part } from "../../lib/api.js";
import { Wrong, dialog, problem } from "../../lib/dialog.js";
import { fill, h, say, text, toast } from "../../lib/dom.js";
import { exact, whyNot } from "../../lib/exact.js";
import { number } from "../../lib/format.js";
import { go, link } from "../../lib/router.js";
import { scripts } from "../../lib/scripts.js";
import { virtual } from "../../lib/virtual.js";
import { fits } from "./fits.js";
import { Calls, resultOf } from "./steps.js";
import { Places, texts } from "./texts.js";

/** What was edited and not forked yet, by run: a dialog is closed too easily. */
const drafts = new Map();

/**
 * Opens the dialog. `at`: the step that is chosen first, to be made again; `after`: one whose result is kept. Gives the new run, or
 * null; goes there.
 */
export async function openFork(run, { at, after } = {}) {
  const draft = drafts.get(run.id) ?? {};
  const chosen = { id: after ?? at ?? null, after: Boolean(after) };
  const set = new Map(draft.set ?? []);
  const calls = new Calls();
  const closed = new AbortController();

  const search = h("input", { type: "search", placeholder: "Name, label or id", "aria-label": "Look for a step" });
  let rows = [];
  const list = virtual({
    height: 44, label: "Steps of the run", row: (index) => row(rows[index]), key: (index) => rows[index].id,
    open: (index) => choose(rows[index]),
  });
  list.element.classList.add("fork-list");
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    rows = wanted ? calls.list.filter((call) => `${call.id} ${call.name} ${call.label ?? ""}`.toLowerCase().includes(wanted)) : calls.list;
    list.update(rows.length);
    list.refresh();
  };
  search.addEventListener("input", filter);

  function row(call) {
    const name = `fork-${call.id}`;
    const box = h("input", { type: "radio", name: "fork-step", id: name, value: call.id, onchange: () => choose(call) });
    box.checked = call.id === chosen.id;
    return h("div", { class: call.id === chosen.id ? "fork-step chosen" : "fork-step" }, box,
      h("label", { for: name },
        h("span", { class: "mono faint" }, call.id), " ", h("strong", {}, call.name), call.label ? ` ${call.label}` : "",
        h("span", { class: `tag is-${call.outcome}` }, set.has(call.id) ? "altered" : call.outcome),
        h("span", { class: "fork-brief mono" }, call.shown)));
  }

  const how = h("fieldset", { class: "group" });
  const result = h("div", {});
  const said = h("div", { "aria-live": "polite" });
  const body = h("div", { class: "fork-script" }, h("p", { class: "busy" }, "Loading the script …"));
  const name = h("input", { id: "fork-id", autocomplete: "off", spellcheck: "false" });
  const check = h("button", { type: "button", onclick: () => tryIt() }, "Check");
  let pens = null;
  let places = null;

  const changed = () => {
    fill(said);
    drafts.set(run.id, { files: pens?.files() ?? {}, set: [...set] });
  };

  function choose(call) {
    chosen.id = call.id;
    if (!call.result) chosen.after = false;
    list.refresh();
    ask();
    changed();
    pens?.show(...placeOf(call.site));
  }

  function ask() {
    const call = calls.byId.get(chosen.id);
    if (!call) {
      fill(how, h("legend", {}, "From where"), h("p", { class: "hint" }, calls.list.length ? "Choose a step in the list." : "This run has made no step yet."));
      fill(result);
      return;
    }
    const option = (value, words, hint, can) => {
      const id = `fork-how-${value}`;
      const box = h("input", { type: "radio", name: "fork-how", id, disabled: !can, onchange: () => ((chosen.after = value === "after"), ask(), changed()) });
      box.checked = chosen.after === (value === "after");
      return h("div", { class: "field inline" }, box, h("label", { for: id }, words, h("span", { class: "faint" }, ` ${hint}`)));
    };
    const kept = calls.kept(chosen.after ? { after: call.id } : { at: call.id });
    fill(how, h("legend", {}, "From ", h("span", { class: "mono" }, `${call.id} ${call.name}`)),
      option("at", "Before this step", "it is made again", true),
      option("after", "After it", call.result ? "its result is kept" : "it has no result yet", Boolean(call.result)),
      h("p", { class: "hint" }, `${number(kept)} events are taken over. Steps that are made again have new idempotency keys.`));
    alteration(call);
  }

  /** The result of the chosen step, to be another one. */
  function alteration(call) {
    const others = [...set.keys()].filter((id) => id !== call.id);
    const list = others.length ? h("p", { class: "hint" }, "Altered results: ", others.map((id) => [h("button", {
      type: "button", class: "small mono", title: "Take it back", "aria-label": `Take back the altered result of ${id}`,
      onclick: () => (set.delete(id), changed(), alteration(call), refresh()) }, `${id} ×`), " "])) : null;
    if (!chosen.after || !call.settable) return void fill(result, list);
    const area = h("textarea", { id: "fork-result", rows: 4, spellcheck: "false", placeholder: "Loading …" });
    const wrong = h("p", { class: "wrong" });
    const back = h("button", { type: "button", class: "small quiet", onclick: () => (set.delete(call.id), changed(), alteration(call), refresh()) }, "As recorded");
    back.hidden = !set.has(call.id);
    area.addEventListener("input", () => {
      try {
        set.set(call.id, exact(area.value));
        text(wrong, "");
        area.removeAttribute("aria-invalid");
      } catch (error) {
        text(wrong, whyNot(error));
        area.setAttribute("aria-invalid", "true");
      }
      back.hidden = false;
      changed();
      refresh();
    });
    fill(result, h("div", { class: "field" }, h("label", { for: "fork-result" }, `Result of ${call.id}`, h("span", { class: "faint" }, " (JSON; change it to go on with another one)")), area, wrong, back), list);
    if (set.has(call.id)) area.value = JSON.stringify(set.get(call.id), null, 2);
    else {
      api.get(`/runs/${part(run.id)}/events`, { query: { from: call.settable, limit: 1 }, signal: closed.signal }).then(({ events }) => {
        const value = resultOf(events[0]);
        if (!area.value && !set.has(call.id)) area.value = value === undefined ? "" : JSON.stringify(value, null, 2);
        area.placeholder = "It failed; a value here makes it a success";
      }).catch((error) => closed.signal.aborted || text(wrong, error.message));
    }
  }
  const refresh = () => list.refresh();

  function placeOf(site) {
    const found = /^(?:(.+):)?(\d+):\d+$/.exec(site ?? "");
    return found ? [found[1], Number(found[2])] : [undefined, 1];
  }

  function wanted() {
    if (result.querySelector("[aria-invalid]")) throw new Wrong("The altered result is no JSON.");
    const kept = chosen.id ? calls.kept(chosen.after ? { after: chosen.id } : { at: chosen.id }) : Infinity;
    const results = Object.fromEntries([...set].filter(([id]) => calls.byId.get(id)?.settable <= kept));
    const options = {};
    if (pens?.script()) options.script = pens.script();
    if (Object.keys(results).length) options.set = results;
    return { options, kept };
  }

  async function tryIt() {
    check.disabled = true;
    pens?.clear();
    try {
      const { options, kept } = wanted();
      const view = await api.post(`/runs/${part(run.id)}/replay`, options, { signal: closed.signal });
      const { element, good } = fits(view, { kept: chosen.id ? kept : null, run, show: (site) => pens?.show(...placeOf(site)) });
      fill(said, element);
      say(good ? "It fits." : "It does not fit.");
      return good;
    } catch (error) {
      if (closed.signal.aborted) return false;
      fill(said, problem(error));
      if (error.status === 422) pens?.wrong(error.message);
      return false;
    } finally {
      check.disabled = false;
    }
  }

  let made = null;
  const opened = dialog({
    title: "Fork the run",
    wide: true,
    submit: "Fork",
    content: h("div", { class: "fork" },
      h("div", { class: "fork-steps" },
        h("p", { class: "soft" }, "A new run takes over the log of ", h("span", { class: "mono" }, run.id), " up to a step, and goes on from there by itself. The old one stays as it is."),
        search, list.element, how, result,
        h("details", { class: "more" }, h("summary", {}, "Id of the new run"), h("div", { class: "field" }, h("label", { for: "fork-id" }, "Id"), name, h("p", { class: "hint" }, "Made up unless given.")))),
      h("div", { class: "fork-right" }, body, h("div", { class: "row" }, check, h("span", { class: "hint soft" }, "Runs the log again with this script; nothing is written and no step is made. Ctrl+Enter does it too.")), said)),
    done: async () => {
      if (!chosen.id) throw new Wrong("Choose the step from which the new run is to go on.");
      const { options } = wanted();
      try {
        made = await api.post(`/runs/${part(run.id)}/fork`, { [chosen.after ? "after" : "at"]: chosen.id, ...options, ...(name.value.trim() ? { id: name.value.trim() } : {}) });
      } catch (error) {
        if (error.status === 422) pens?.wrong(error.message);
        throw error;
      }
      drafts.delete(run.id);
      toast(`Run ${made.id} goes on from step ${chosen.id}`);
      go(link(["runs", made.id]));
      return made;
    },
  });
  ask();

  (async () => {
    try {
      for (let from = 1; from; ) {
        const page = await api.get(`/runs/${part(run.id)}/events`, { query: { from, limit: 1000, value_bytes: 240 }, signal: closed.signal });
        calls.take(page.events);
        if (places) calls.name(places);
        filter();
        from = page.next;
      }
      if (chosen.id && !calls.byId.has(chosen.id)) chosen.id = null;
      chosen.id ??= calls.list.findLast((call) => call.outcome === "failed")?.id ?? null;
      ask();
      list.refresh();
      const index = rows.findIndex((call) => call.id === chosen.id);
      if (index >= 0) list.reveal(index);
    } catch (error) {
      if (!closed.signal.aborted) fill(how, problem(error));
    }
  })();
  (async () => {
    try {
      const files = await texts(run);
      if (closed.signal.aborted) return;
      places = new Places(files, run.workflow);
      calls.name(places);
      filter();
      pens = scripts(files, { main: `${run.workflow}.rhai`, edited: draft.files, change: changed, submit: tryIt });
      fill(body, Object.keys(draft.files ?? {}).length ? h("p", { class: "notice" }, "What you changed here before is still there; “Undo all” takes it back.") : null, pens.element);
      const call = calls.byId.get(chosen.id);
      if (call) pens.show(...placeOf(call.site));
    } catch (error) {
      if (!closed.signal.aborted) fill(body, problem(error), h("p", { class: "soft" }, "Without its text the run can be forked as it is."));
    }
  })();

  await opened;
  closed.abort();
  return made;
}
