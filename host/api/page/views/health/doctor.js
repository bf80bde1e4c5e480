// What a look at everything in the store finds.

import { api } from "../../lib/api.js";
import { problem } from "../../lib/dialog.js";
import { fill, h } from "../../lib/dom.js";
import { number } from "../../lib/format.js";
import { link } from "../../lib/router.js";

/** Findings that are shown. */
const MOST = 200;

export function doctor({ signal }) {
  const result = h("div", { "aria-live": "polite" });
  const button = h("button", { type: "button", onclick: look }, "Look at everything");
  async function look() {
    button.disabled = true;
    fill(result, h("p", { class: "soft" }, "Looking at every run; a large store takes a while …"));
    try {
      fill(result, shown(await api.get("/doctor", { signal })));
    } catch (error) {
      if (!signal.aborted) fill(result, problem(error));
    }
    button.disabled = false;
  }
  return h("section", { class: "card stack" }, h("div", { class: "head" }, h("h2", {}, "Doctor"), h("span", { class: "end" }, button)),
    h("p", { class: "soft" }, "Reads every run and its log, and says what is damaged. Nothing is changed."), result);
}

function shown({ runs, events, findings }) {
  const size = `${number(runs)} runs and ${number(events)} events looked at`;
  if (!findings.length) return h("div", { class: "notice good" }, h("p", {}, `All is well: ${size}.`));
  const mendable = findings.filter((one) => one.mendable).length;
  return h("div", { class: "stack" },
    h("div", { class: "notice bad" }, h("p", {}, `${number(findings.length)} findings; ${size}.`),
      mendable ? h("p", {}, `${number(mendable)} of them can be repaired: stop the host and run `, h("code", {}, "durhai doctor --repair"), ".") : null),
    h("ul", { class: "stack" }, findings.slice(0, MOST).map((one) => h("li", { class: "card" },
      one.run ? h("a", { class: "mono", href: link(["runs", one.run]) }, one.run) : h("span", { class: "soft" }, "the store"),
      h("p", {}, one.what), h("p", { class: "soft" }, one.todo)))),
    findings.length > MOST ? h("p", { class: "soft" }, `and ${number(findings.length - MOST)} more; durhai doctor names all`) : null);
}
