// What came of holding a new version against the live runs of its workflow.

import { fill, h } from "../../lib/dom.js";
import { duration, number, short, time, whole } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { verdict } from "../../lib/verdict.js";

/** Runs that are shown at once. */
const STEP = 50;
/** Runs that are open at first. */
const OPEN = 3;

const many = (n, one, more) => `${number(n)} ${n === 1 ? one : more}`;

/** `3 of 12 live runs do not fit, first at order.rhai:18` */
export function gateLine(gate) {
  const misfits = gate.diverging + gate.failing + gate.unreadable;
  const fit = misfits === 0
    ? `${gate.live === 1 ? "The live run fits" : `All ${number(gate.live)} live runs fit`} ${short(gate.to)}`
    : `${number(misfits)} of ${many(gate.live, "live run", "live runs")} ${misfits === 1 ? "does" : "do"} not fit ${short(gate.to)}${gate.first?.place ? `, first at ${gate.first.place}` : ""}`;
  return `${fit}${gate.moved ? `; ${number(gate.moved)} moved` : ""}${gate.served ? "" : "; refused, the version before serves on"}.`;
}

const COUNTS = [["compatible", "fit", "good"], ["diverging", "diverge", "bad"], ["failing", "would fail", "bad"], ["unreadable", "cannot be read", "bad"], ["moved", "moved", "good"]];

/** The whole report. */
export function gateReport(gate, view) {
  if (!gate) {
    return h("div", { class: "empty" }, h("h2", {}, "No report yet"),
      h("p", {}, "When a new version of this workflow is saved while runs of it are live, each of their logs is run against it, and what came of it stands here."));
  }
  const list = h("ul", { class: "stack" });
  const more = h("div", {});
  let shown = 0;
  const grow = () => {
    for (const misfit of gate.runs.slice(shown, shown + STEP)) {
      list.append(one(misfit, view, shown < OPEN));
      shown += 1;
    }
    fill(more, shown < gate.runs.length ? h("button", { type: "button", onclick: grow }, `Show more (${number(gate.runs.length - shown)})`) : null);
  };
  grow();
  const misfits = gate.diverging + gate.failing + gate.unreadable;
  return h("div", { class: "stack" },
    h("div", { class: misfits ? "notice bad" : "notice good" }, h("p", {}, gateLine(gate)),
      h("p", { class: "soft" }, gate.from ? ["from ", version(view, gate.from), " to "] : "to ", version(view, gate.to), ", ", time(gate.at, whole),
        `, on_reload: ${gate.policy}, looked at in ${duration(gate.micros / 1000)}`,
        gate.from ? [" · ", h("a", { href: link(["workflows", view.name], { tab: "versions", a: gate.from, b: gate.to }) }, "What changed")] : null)),
    h("dl", { class: "tallies" }, h("div", {}, h("dt", {}, "live"), h("dd", {}, number(gate.live))),
      COUNTS.map(([name, label, kind]) => h("div", { class: gate[name] ? kind : "none" }, h("dt", {}, label), h("dd", {}, number(gate[name]))))),
    h("div", { class: "row" }, h("button", { type: "button", onclick: async () => {
      const { migrateWorkflow } = await import("../../lib/actions.js");
      migrateWorkflow(view);
    } }, "Migrate live runs …"), h("span", { class: "soft" }, "A trial comes first; nothing moves before you say so.")),
    gate.runs.length ? h("h2", {}, gate.runs.length < misfits ? `The first ${number(gate.runs.length)} runs that do not fit` : "Runs that do not fit") : null,
    list, more);
}

const version = (view, digest) => h("a", { class: "mono", href: link(["workflows", view.name], { tab: "source", version: digest }) }, short(digest));

/** A run that does not fit; what there is to see of it is made when it is opened. */
function one(misfit, view, open) {
  const inside = h("div", { class: "stack" });
  const draw = () => {
    if (inside.childElementCount) return;
    fill(inside, verdict(misfit), h("div", { class: "row" },
      h("a", { class: "button", href: link(["runs", misfit.run]) }, "The run"),
      h("a", { class: "button", href: link(["runs", misfit.run], { tab: "trace" }) }, "Replay it"),
      h("button", { type: "button", onclick: async () => {
        const { migrateRun } = await import("../../lib/actions.js");
        migrateRun({ id: misfit.run, workflow: view.name, version: misfit.version });
      } }, "Migrate it …")));
  };
  if (open) draw();
  return h("li", { class: "card" }, h("details", { open, ontoggle: draw },
    h("summary", {}, h("span", { class: "mono" }, misfit.run), " ",
      h("span", { class: "tag" }, { diverges: "diverges", fails: "would fail", unreadable: "cannot be read" }[misfit.verdict] ?? misfit.verdict),
      misfit.place ? h("span", { class: "mono soft" }, ` ${misfit.place}`) : null, h("span", { class: "faint mono" }, ` ${short(misfit.version)}`)), inside));
}
