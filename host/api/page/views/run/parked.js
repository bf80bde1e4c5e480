// A run that stopped until an operator looks at it: why, what is recorded beside what the script asks for, what can be done.

import { api } from "../../lib/api.js";
import { fill, h } from "../../lib/dom.js";
import { problem } from "../../lib/dialog.js";
import { brief } from "../../lib/format.js";
import { link } from "../../lib/router.js";
import { quote } from "./failure.js";
import { doing } from "./now.js";
import { place, placeLink } from "./place.js";

export function parked({ feed, signal }) {
  const { run } = feed;
  const reason = run.reason ?? "It is not known why.";
  const [first, ...rest] = reason.split("\n");
  const poisoned = /^poisoned/.test(reason);
  const more = rest.length ? h("pre", { tabindex: "0" }, rest.join("\n")) : null;
  const sides = h("div", { class: "stack" });
  const again = doing("Replay again", () => look(), feed);
  let diverged = null;
  async function look() {
    try {
      const view = await api.post(`${feed.path}/replay`, {}, { signal });
      diverged = view.divergence;
      // Both sides with their lines say more than the reason's own words.
      if (more) more.hidden = Boolean(view.divergence);
      fill(sides, view.divergence ? compared(view.divergence, run)
        : h("p", { class: "soft" }, /^diverged/.test(reason) ? "A replay fits the log now: unparked, it goes on." : "A replay fits the log: the script is not the reason."));
    } catch (error) {
      if (!signal.aborted) fill(sides, problem(error));
    }
  }
  // A script that kills its host would do so again.
  if (poisoned) fill(sides, h("p", { class: "soft" }, "It is not replayed by itself: its script may bring this host down too. Look at its source and its log, then fork it with another text, or migrate it."));
  else look();
  const step = () => diverged?.step_id ?? undefined;
  return h("section", { class: "notice bad", "aria-label": "Why it is parked" },
    h("h2", {}, "It is parked: it needs an operator"),
    h("p", {}, first), more, sides,
    h("p", { class: "soft" }, advice(reason, poisoned)),
    h("div", { class: "row" },
      doing("Unpark", async () => (await import("../../lib/actions.js")).unparkRun(run), feed, "primary"),
      doing("Move to another version …", async () => (await import("../../lib/actions.js")).migrateRun(run), feed),
      doing("Fork …", async () => (await import("./fork.js")).openFork(run, { at: step() }), feed),
      poisoned ? null : again,
      h("a", { class: "button", href: link(["runs", run.id], { tab: "trace" }) }, "Trace")));
}

function advice(reason, poisoned) {
  if (poisoned) return "Unpark lets it try again.";
  if (/step|workflow/.test(reason) && /no |not |unknown|missing/.test(reason) && !/diverge|recorded/.test(reason)) {
    return "Provide what is missing, then unpark: it goes on where it stood, nothing is repeated.";
  }
  return "Move it to a version that fits its log, or fork it at the place where it differs and go on with an edited script. Its log is untouched.";
}

/** Both sides of a divergence, each with its line. */
export function compared(divergence, run) {
  const side = (label, one, version) => h("div", { class: "side" }, h("h3", {}, label),
    one ? [
      h("p", {}, h("code", {}, one.what), one.site ? h("span", { class: "faint" }, " at ", placeLink(run, one.site)) : null),
      one.source ? quote(one.source, place(one.site, run.workflow)?.line ?? "", place(one.site, run.workflow)?.column ?? null) : null,
      one.input === undefined || one.input === null ? null : h("p", { class: "mono side-input" }, brief(one.input, 400)),
    ] : h("p", { class: "soft" }, version === "recorded" ? "Nothing more is recorded." : "The script asks for nothing more."));
  return [
    h("p", { class: "soft" }, `${divergence.message}: `, divergence.step_id ? ["call ", h("code", {}, divergence.step_id), ", "] : null, "event ",
      h("a", { href: link(["runs", run.id], { tab: "log", seq: divergence.seq }) }, String(divergence.seq))),
    h("div", { class: "sides" }, side("Recorded", divergence.recorded, "recorded"), side("Asked now", divergence.asked, "asked")),
  ];
}
