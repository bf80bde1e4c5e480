// The result of running a log again, in words: it fits and what comes next, or where it parts.

import { h } from "../../lib/dom.js";
import { brief, duration, number } from "../../lib/format.js";
import { failing, parting } from "../../lib/verdict.js";

/**
 * `{ element, good }` for a ReplayView. `kept`: how many events a fork takes over, null where the whole log counts; `show(site)`
 * shows a place in the script.
 */
export function fits(view, { kept = null, show }) {
  const took = h("span", { class: "faint" }, ` ${duration(view.micros / 1000)}`);
  const parts = view.divergence;
  if (parts && (kept === null || parts.seq <= kept)) {
    if (parts.asked?.site) show?.(parts.asked.site);
    return { good: false, element: h("div", { class: "notice bad" }, h("h3", {}, "The script does not fit what is taken over", took), parting(parts)) };
  }
  if (parts) {
    return { good: true, element: h("div", { class: "notice good" },
      h("h3", {}, `It fits the ${number(kept)} events that are taken over`, took),
      h("details", { class: "more" }, h("summary", {}, "Behind them it does something else than the old run"), parting(parts))) };
  }
  const whole = view.used >= view.events;
  return { good: true, element: h("div", { class: "notice good" },
    h("h3", {}, whole ? `It fits all ${number(view.events)} events` : `It fits the first ${number(view.used)} of ${number(view.events)} events`, took),
    outcome(view, kept), next(view, show)) };
}

function outcome(view, kept) {
  if (kept !== null && kept < view.used) return h("p", { class: "soft" }, `The new run takes over ${number(kept)} of them and makes the rest anew.`);
  if (view.error) return h("div", {}, h("p", {}, "It then fails:"), failing(view.error));
  if (view.status === "completed") return h("div", {}, h("p", {}, "It then ends with:"), h("pre", { class: "cut" }, brief(view.output, 400)));
  return null;
}

function next(view, show) {
  if (!view.next?.length) {
    if (!view.waiting_for?.length) return null;
    return h("p", {}, "It waits for ", view.waiting_for.slice(0, 5).map((wait, at) => [at ? ", " : "", h("span", { class: "mono" }, `${wait.kind}${wait.name ? ` ${wait.name}` : ""}`)]), ".");
  }
  return h("div", {}, h("p", {}, "Next it would make:"), h("ul", { class: "next" }, view.next.slice(0, 20).map((call) => h("li", {},
    h("button", { type: "button", class: "link mono", onclick: () => show?.(call.site) }, call.site), " ", h("strong", { class: "mono" }, call.what), " ",
    call.input === undefined ? null : h("span", { class: "mono soft" }, brief(call.input, 160))))),
  view.next.length > 20 ? h("p", { class: "soft" }, `and ${view.next.length - 20} more`) : null);
}
