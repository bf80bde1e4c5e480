// Starting runs.

import { api, part } from "./api.js";
import { STAY, Wrong, dialog } from "./dialog.js";
import { fill, h, say, toast } from "./dom.js";
import { form } from "./form.js";
import { go, link } from "./router.js";
import { prose } from "./prose.js";

const OPTIONS = {
  type: "object",
  properties: {
    id: { type: "string", title: "Id", description: "The run's name. Starting the same id again gives the run that is there." },
    tags: { type: "object", title: "Tags", additionalProperties: { type: "string" }, description: "To find it by." },
    delay: { type: "string", title: "Begin after", description: "Like 10m or 1h 30m; now unless given." },
    at: { type: "string", format: "date-time", title: "Begin at", description: "Instead of a delay." },
    timeout: { type: "string", title: "May take", description: "Like 2h; then it fails. Without it, what the workflow says." },
    priority: { type: "integer", title: "Priority", description: "Among runs that wait for the workflow's concurrency: higher goes first." },
  },
  additionalProperties: false,
};

const remembered = (name) => `durhai-input:${name}`;

/** What was started last from this page with this workflow; undefined: nothing. */
function last(name) {
  try {
    const text = sessionStorage.getItem(remembered(name));
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function remember(name, input) {
  try {
    sessionStorage.setItem(remembered(name), JSON.stringify(input ?? null));
  } catch {
    // Too large to be kept: then it is not offered again.
  }
}

/**
 * Asks for the input of a new run, starts it and goes there. `workflow` is a WorkflowView, or `{ name }`. `input`, `tags`: what
 * the form begins with. Gives the run that was started last, or null.
 */
export async function startRun(workflow, { input, tags } = {}) {
  let view = workflow;
  if (view.header === undefined || view.description === undefined) {
    try {
      view = await api.get(`/workflows/${part(view.name)}`);
    } catch (error) {
      toast(error.message, { error: true });
      return null;
    }
  }
  const schema = view.header?.input;
  const fields = form(schema, { value: input, label: "Input" });
  const options = form(OPTIONS, { value: tags && Object.keys(tags).length ? { tags } : undefined, label: "Options", raw: false });
  const before = input === undefined ? last(view.name) : undefined;
  const another = h("input", { type: "checkbox", id: "start-another" });
  const started = h("div", { "aria-live": "polite" });
  let run = null;
  const opened = dialog({
    title: `Start ${view.name}`,
    submit: "Start",
    content: h("div", { class: "stack" },
      prose(view.description),
      view.error ? h("div", { class: "notice bad" }, h("p", {}, view.version
        ? "The text in the folder does not serve; the version before it is started." : "The text in the folder does not serve:"), h("pre", {}, view.error)) : null,
      before === undefined ? null : h("p", {}, h("button", { type: "button", onclick: () => fields.set(before) }, "Use the last input again")),
      fields.element,
      h("details", { class: "more" }, h("summary", {}, "More: id, tags, delay, priority, timeout"), options.element),
      h("div", { class: "field inline" }, another, h("label", { for: "start-another" }, "stay here to start another one")),
      started),
    done: async () => {
      const value = fields.read();
      const more = options.read() ?? {};
      if (more.delay && more.at) throw new Wrong("Give a delay or a moment to begin at, not both.");
      if (more.at) more.at = Date.parse(more.at);
      let came;
      try {
        came = await api.post("/runs", { workflow: view.name, input: value ?? null, ...more });
      } catch (error) {
        if (error.status === 400 && fields.show(error.message)) throw new Wrong("The input does not fit; see the marked fields.");
        throw error;
      }
      remember(view.name, value);
      run = came;
      if (!another.checked) {
        go(link(["runs", came.id]));
        return came;
      }
      fill(started, h("div", { class: "notice good" }, h("p", {}, "Started ", h("a", { href: link(["runs", came.id]) }, came.id))));
      say(`Started ${came.id}`);
      return STAY;
    },
  });
  fields.focus();
  await opened;
  return run;
}
