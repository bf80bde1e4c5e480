// Rates of the last minutes as small charts, from counters that only grow.

import { h, styles, text } from "../../lib/dom.js";
import { bytes, duration, number } from "../../lib/format.js";

/** Milliseconds between two looks at the counters. */
export const EVERY = 2000;

/** Points that are kept: three minutes. */
const KEPT = 90;
const [WIDTH, HEIGHT] = [300, 56];

/** What is shown: the counter, and how a rate of it is read. */
const RATES = [
  ["attempts", "Step attempts", (rate) => `${round(rate)}/s`],
  ["writes", "Commits", (rate) => `${round(rate)}/s`],
  ["flushes", "Flushes", (rate) => `${round(rate)}/s`],
  ["event_bytes", "Written", (rate) => `${bytes(Math.round(rate))}/s`],
];

const round = (rate) => (rate >= 10 || rate === 0 ? number(Math.round(rate)) : rate.toFixed(1));

/** Gives `{ element, add(stats, now) }`. */
export function charts() {
  const series = RATES.map(([name, label, show]) => {
    const area = h("path", { class: "area" });
    const line = h("path", { class: "line" });
    const now = h("strong", {}, "–");
    const most = h("span", { class: "faint" });
    const picture = h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, area, line);
    styles(picture, { height: `${HEIGHT}px` });
    return { name, label, show, area, line, now, most, picture, points: [],
      element: h("figure", { class: "card chart" }, h("figcaption", {}, h("span", { class: "soft" }, label), now), picture, most) };
  });
  let before = null;
  return {
    element: h("div", { class: "charts" }, series.map((one) => one.element)),
    /** The counters at a moment; fewer than before mean that the host was started anew. */
    add(stats, now) {
      const past = before;
      before = { stats, now };
      if (!past || now <= past.now) return;
      const again = stats.writes < past.stats.writes;
      for (const one of series) {
        const rate = again ? null : ((stats[one.name] - past.stats[one.name]) * 1000) / (now - past.now);
        if (rate === null) continue;
        one.points.push(rate);
        if (one.points.length > KEPT) one.points.shift();
        draw(one);
      }
    },
  };
}

function draw({ points, area, line, now, most, picture, show, label }) {
  const highest = Math.max(...points);
  const scale = highest > 0 ? (HEIGHT - 4) / highest : 0;
  const step = WIDTH / (KEPT - 1);
  const start = WIDTH - (points.length - 1) * step;
  const places = points.map((rate, at) => `${(start + at * step).toFixed(1)} ${(HEIGHT - 1 - rate * scale).toFixed(1)}`);
  line.setAttribute("d", `M${places.join("L")}`);
  area.setAttribute("d", `M${start.toFixed(1)} ${HEIGHT}L${places.join("L")}L${WIDTH} ${HEIGHT}Z`);
  text(now, show(points.at(-1)));
  text(most, `at most ${show(highest)} in ${duration(points.length * EVERY)}`);
  picture.setAttribute("aria-label", `${label}: now ${show(points.at(-1))}, at most ${show(highest)}`);
}
