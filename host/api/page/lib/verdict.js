// The result of running a log against a text, as it is shown in dialogs and reports.

import { h } from "./dom.js";
import { brief } from "./format.js";
import { link } from "./router.js";

/** Where a log and a script part: what is recorded beside what the script asks for, with both lines of the script. */
export function parting(divergence) {
  return h("div", { class: "parting" },
    h("p", {}, divergence.message, h("span", { class: "faint" },
      ` (event ${divergence.seq}${divergence.step_id ? `, step ${divergence.step_id}` : ""})`)),
    h("div", { class: "sides" }, side("Recorded", divergence.recorded), side("The script asks for", divergence.asked)));
}

function side(title, part) {
  return h("section", { class: "card" }, h("h3", {}, title), part
    ? [
      h("p", { class: "mono" }, part.what),
      part.input === undefined ? null : h("pre", { class: "cut" }, brief(part.input, 400)),
      part.site ? h("p", { class: "soft" }, "line ", h("span", { class: "mono" }, part.site)) : null,
      part.source ? h("pre", { class: "cut" }, part.source.trim()) : null,
    ]
    : h("p", { class: "soft" }, "nothing"));
}

/** An error of a script: its message, and its line. */
export function failing(error) {
  const place = error.place;
  return h("div", {}, h("p", {}, h("span", { class: "tag" }, error.kind), " ", error.message),
    place ? h("p", { class: "soft" }, "at ", h("span", { class: "mono" }, `${place.file}:${place.line}:${place.column}`)) : null,
    place?.source ? h("pre", { class: "cut" }, place.source.trim()) : null);
}

/** The `verdict` of a migration or of a run in a compatibility report. */
export function verdict(found) {
  switch (found.verdict) {
    case "compatible": return h("p", {}, "The whole log fits.");
    case "diverges": return parting(found.divergence);
    case "fails": return h("div", {}, h("p", {}, "The log fits, but the script would fail right where the run stands:"), failing(found.error));
    default: return h("pre", { class: "cut" }, found.reason ?? found.verdict);
  }
}

const COUNTS = [["compatible", "fit"], ["moved", "moved"], ["already", "had it already"], ["diverging", "diverge"],
  ["failing", "would fail"], ["unreadable", "cannot be read"], ["elsewhere", "are held by another host"]];

/** A report about all live runs of a workflow: counts, and those that do not fit. */
export function report(of) {
  const counts = COUNTS.filter(([name]) => of[name] > 0).map(([name, what]) => h("li", {}, h("strong", {}, String(of[name])), ` ${what}`));
  return h("div", { class: "stack" },
    h("ul", { class: "counts" }, h("li", {}, h("strong", {}, String(of.live)), of.live === 1 ? " live run" : " live runs"), counts),
    of.runs?.length
      ? h("div", { class: "scroll-x misfits", tabindex: 0, role: "region", "aria-label": "Runs that do not fit" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "Run"), h("th", {}, "Place"), h("th", {}, "Why"))),
        h("tbody", {}, of.runs.slice(0, 200).map((misfit) => h("tr", {},
          h("td", {}, h("a", { href: link(["runs", misfit.run]) }, misfit.run)),
          h("td", { class: "mono" }, misfit.place ?? ""),
          h("td", {}, h("details", {}, h("summary", {}, summary(misfit)), verdict(misfit))))))))
      : null,
    of.runs?.length > 200 ? h("p", { class: "soft" }, `and ${of.runs.length - 200} more`) : null);
}

function summary(misfit) {
  return misfit.divergence?.message ?? misfit.error?.message ?? misfit.reason ?? misfit.verdict;
}
