// The compatibility report: a new version checked against the live runs of its workflow.

import { fill, h } from "../../lib/dom.js";
import { duration, number, relative, short, time, whole } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { verdict } from "../../lib/verdict.js";

/** Runs that are shown at once. */
const STEP = 50;
/** Runs that are open at first. */
const OPEN = 3;

const many = (n, one, more) => `${number(n)} ${n === 1 ? one : more}`;

/** `3 of 12 live runs do not fit, first at order.rhai:18` */
export function compatLine(report) {
  const misfits = report.diverging + report.failing + report.unreadable;
  const fit = misfits === 0
    ? `${report.live === 1 ? "The live run fits" : `All ${number(report.live)} live runs fit`} ${short(report.to)}`
    : `${number(misfits)} of ${many(report.live, "live run", "live runs")} ${misfits === 1 ? "does" : "do"} not fit ${short(report.to)}${report.first?.place ? `, first at ${report.first.place}` : ""}`;
  return `${fit}${report.moved ? `; ${number(report.moved)} moved` : ""}${report.served ? "" : "; refused, the version before serves on"}.`;
}

/** `This host has a2b3c4d5 in its folder; …` */
export const behindText = ({ version, serving, saved_at }) => ["This host has ", h("span", { class: "mono" }, short(version)), " in its folder; ",
  h("span", { class: "mono" }, short(serving)), " serves in all hosts, as another one saved it later, ", time(saved_at, relative), "."];

const COUNTS = [["compatible", "fit", "good"], ["diverging", "diverge", "bad"], ["failing", "would fail", "bad"], ["unreadable", "cannot be read", "bad"], ["moved", "moved", "good"]];

/** The whole report. */
export function compatReport(report, view) {
  if (!report) {
    return h("div", { class: "empty" }, h("h2", {}, "No report yet"),
      h("p", {}, "When a new version of this workflow is saved while runs of it are live, each of their logs is run against it, and the result stands here."));
  }
  const list = h("ul", { class: "stack" });
  const more = h("div", {});
  let shown = 0;
  const grow = () => {
    for (const misfit of report.runs.slice(shown, shown + STEP)) {
      list.append(one(misfit, view, shown < OPEN));
      shown += 1;
    }
    fill(more, shown < report.runs.length ? h("button", { type: "button", onclick: grow }, `Show more (${number(report.runs.length - shown)})`) : null);
  };
  grow();
  const misfits = report.diverging + report.failing + report.unreadable;
  return h("div", { class: "stack" },
    h("div", { class: misfits ? "notice bad" : "notice good" }, h("p", {}, compatLine(report)),
      h("p", { class: "soft" }, report.from ? ["from ", version(view, report.from), " to "] : "to ", version(view, report.to), ", ", time(report.at, whole),
        `, on_reload: ${report.policy}, looked at in ${duration(report.micros / 1000)}`,
        report.from ? [" · ", h("a", { href: link(["workflows", view.name], { tab: "versions", a: report.from, b: report.to }) }, "What changed")] : null)),
    h("dl", { class: "tallies" }, h("div", {}, h("dt", {}, "live"), h("dd", {}, number(report.live))),
      COUNTS.map(([name, label, kind]) => h("div", { class: report[name] ? kind : "none" }, h("dt", {}, label), h("dd", {}, number(report[name]))))),
    h("div", { class: "row" }, h("button", { type: "button", onclick: async () => {
      const { migrateWorkflow } = await import("../../lib/actions.js");
      migrateWorkflow(view);
    } }, "Migrate live runs …"), h("span", { class: "soft" }, "A trial comes first; nothing moves before you say so.")),
    report.runs.length ? h("h2", {}, report.runs.length < misfits ? `The first ${number(report.runs.length)} runs that do not fit` : "Runs that do not fit") : null,
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
