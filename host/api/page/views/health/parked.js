// Runs that wait for an operator, and what can be done about each reason.

import { api } from "../../lib/api.js";
import { fill, h, reconcile } from "../../lib/dom.js";
import { relative, time } from "../../lib/format.js";
import { link } from "../../lib/router.js";

/** Runs that are listed. */
const MOST = 50;

/** By what the reason says: a name for it, and what to do. The first that fits counts. */
const REASONS = [
  [/^diverged/, "diverged", "The script does something else than its log has. Replay it to see the line; then migrate it to a version that fits, fork it before that line, or put the file right and unpark it."],
  [/^poisoned/, "poisoned", "It took its host down again and again without getting on. Replay it to see where; unpark it when that is put right, or terminate it."],
  [/^step .* is under way/, "missing step", "Provide the step again (a file in steps/, durhai.toml, or the program that embeds the host), then unpark it."],
  [/does not compile|script of version|text/, "missing text", "The text it runs on does not load here. Migrate it to a version that fits, or put back what it needs and unpark it."],
  [/^imported/, "imported", "It was read from a file and does nothing until it is unparked."],
  [/damage|log/, "damaged", "Its log could not be read to the end. Look at what is left, run the doctor below, then fork it before the place or unpark it."],
];

const kindOf = (reason) => REASONS.find(([pattern]) => pattern.test(reason)) ?? [null, "parked", "Look at the run for what it says; unpark it when the reason is gone."];

/** Gives `{ element, load() }`. */
export function parkedRuns({ signal }) {
  const list = h("ul", { class: "stack" });
  const empty = h("p", { class: "soft" });
  const element = h("section", { class: "card" }, h("h2", {}, "Parked runs"), list, empty);

  const change = (node, run) => {
    const now = JSON.stringify([run.reason, run.status]);
    if (node.dataset.now === now) return;
    node.dataset.now = now;
    const [, kind, todo] = kindOf(run.reason ?? "");
    const [first, ...rest] = (run.reason ?? "It does not say why.").split("\n");
    const does = (name, label) => h("button", { type: "button", onclick: async () => {
      const actions = await import("../../lib/actions.js");
      await actions[name](run);
      load();
    } }, label);
    fill(node,
      h("div", { class: "row" }, h("span", { class: "status parked" }, kind), h("a", { class: "mono", href: link(["runs", run.id]) }, run.id),
        h("a", { class: "soft", href: link(["workflows", run.workflow]) }, run.workflow), h("span", { class: "faint" }, "made ", time(run.created_at, relative))),
      h("p", {}, first), rest.length ? h("pre", { class: "compiler", tabindex: 0, role: "region", "aria-label": `Why ${run.id} is parked` }, rest.join("\n")) : null,
      h("p", { class: "soft" }, todo),
      h("div", { class: "row" },
        h("a", { class: "button", href: link(["runs", run.id], { tab: "trace" }) }, "Replay"),
        does("migrateRun", "Migrate …"), does("forkRun", "Fork …"), does("unparkRun", "Unpark"), does("terminateRun", "Terminate …")));
  };

  async function load() {
    const page = await api.get("/runs", { query: { status: "parked", limit: MOST, value_bytes: 16 }, signal }).catch(() => null);
    if (!page) return;
    reconcile(list, page.runs, (run) => run.id, () => h("li", { class: "notice bad" }), change);
    fill(empty, page.runs.length === 0 ? "None: no run waits for an operator." : page.next ? h("a", { href: link(["runs"], { status: "parked" }) }, "All parked runs") : null);
  }
  return { element, load };
}
