// Moving runs to another version of their workflow. A trial comes first: nothing is moved before the user has seen what
// would happen.

import { api, part } from "./api.js";
import { STAY, dialog } from "./dialog.js";
import { fill, h, say, toast } from "./dom.js";
import { moment, short } from "./format.js";
import { report, verdict } from "./verdict.js";

/** Moves one run. Gives the `Migration`, or null. */
export const migrateRun = (run) => migrate({
  title: "Migrate the run",
  text: ["Run ", h("span", { class: "mono" }, run.id), " has version ", h("span", { class: "mono" }, short(run.version)), ". Its log must fit the other one."],
  workflow: run.workflow,
  current: run.version,
  route: `/runs/${part(run.id)}/migrate`,
  shown: verdict,
  fits: (answer) => answer.verdict === "compatible",
  said: (answer) => (answer.moved ? `The run has version ${short(answer.to)} now` : "The run was not moved"),
  goOn: "Move the run",
});

/** Moves the live runs of a workflow that fit. Gives the `MigrateReport`, or null. */
export const migrateWorkflow = (view) => migrate({
  title: `Migrate the live runs of ${view.name}`,
  text: "Each live run's log is run against the version. Those that fit are moved, the others stay as they are.",
  workflow: view.name,
  route: `/workflows/${part(view.name)}/migrate`,
  shown: report,
  fits: (answer) => answer.compatible - answer.already > 0 || answer.compatible > 0,
  said: (answer) => `${answer.moved} of ${answer.live} runs moved to ${short(answer.to)}`,
  goOn: "Move those that fit",
});

async function migrate({ title, text, workflow, current, route, shown, fits, said, goOn }) {
  let versions;
  try {
    ({ versions } = await api.get(`/workflows/${part(workflow)}/versions`));
  } catch (error) {
    toast(error.message, { error: true });
    return null;
  }
  const name = (one) => [short(one.version), one.serving ? "serving" : null, one.first_seen ? `first seen ${moment(one.first_seen)}` : null,
    `${one.live} live`].filter(Boolean).join(" · ");
  const choices = versions.filter((one) => (one.bytes > 0 || one.serving) && one.version !== current);
  if (!choices.length) {
    toast(`${workflow} has no other version that the run could have.`);
    return null;
  }
  const first = choices.findIndex((one) => one.serving);
  const select = h("select", { id: "to-version", autofocus: true }, choices.map((one, at) => h("option", { value: one.version, selected: at === Math.max(first, 0) }, name(one))));
  const result = h("div", { class: "stack", "aria-live": "polite" });
  let tried = null;
  let button;
  const label = () => {
    button ??= select.closest("form").querySelector("button[type=submit]");
    button.textContent = tried === select.value ? goOn : "Look what would come of it";
  };
  select.addEventListener("change", () => {
    tried = null;
    fill(result);
    label();
  });
  return dialog({
    title,
    wide: true,
    submit: "Look what would come of it",
    content: h("div", { class: "stack" }, h("p", {}, text),
      h("div", { class: "field" }, h("label", { for: "to-version" }, "To version"), select), result),
    done: async () => {
      const trial = tried !== select.value;
      const answer = await api.post(route, { to: select.value, dry_run: trial });
      if (!trial && (answer.moved || answer.moved > 0)) {
        toast(said(answer));
        return answer;
      }
      const good = fits(answer);
      const took = answer.micros ? h("span", { class: "faint" }, ` Looked at in ${Math.max(1, Math.round(answer.micros / 1000))} ms.`) : null;
      fill(result, h("div", { class: `notice ${good ? "good" : "bad"}` }, h("h3", {}, trial ? "What would come of it" : said(answer), took), shown(answer)));
      say(good ? "It fits" : "It does not fit");
      tried = good && trial ? select.value : null;
      label();
      return STAY;
    },
  });
}

