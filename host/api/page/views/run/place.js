// Places in scripts, as links to the source panel.

import { h } from "../../lib/dom.js";
import { link } from "../../lib/router.js";

/** The name of a file as the source panel knows it: `order` and `order.rhai` are the same, `std/saga` has no ending. */
export function fileOf(name) {
  return name.startsWith("std/") || name.endsWith(".rhai") ? name : `${name}.rhai`;
}

/** `{ file, line, column }` of `18:5` or `lib/money:3:9`; null of anything else. */
export function place(site, workflow) {
  const found = /^(?:(.+):)?(\d+):(\d+)$/.exec(site ?? "");
  return found && { file: fileOf(found[1] ?? workflow), line: Number(found[2]), column: Number(found[3]) };
}

/** The address of a line of the run's source. */
export function sourceLink(run, { file, line }) {
  return link(["runs", run.id], { tab: "source", line, file: file === fileOf(run.workflow) ? null : file });
}

/** `order.rhai:18` as a link; nothing where there is no place. */
export function placeLink(run, site) {
  const found = typeof site === "string" ? place(site, run.workflow) : site && { ...site, file: fileOf(site.file) };
  return found && h("a", { class: "mono", href: sourceLink(run, found) }, `${found.file}:${found.line}`);
}
