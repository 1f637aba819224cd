// Curves over the steps of a training, by uPlot, on a logarithmic axis.

import { make, style } from "scope/dom";
import { short } from "scope/numbers";

const HEIGHT = 190;
const STEPS = 60;

/** Colours from dark blue over green to yellow: from the first layer to the last, for every eye. */
function colours(count) {
  if (count === 1) return [style("--signal")];
  const stops = style("--sequence").split(",").map((hex) => hex.trim().match(/\w\w/g).map((h) => parseInt(h, 16)));
  return Array.from({ length: count }, (_, i) => {
    const at = (i / (count - 1)) * (stops.length - 1) * 0.9999;
    const [a, b] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * (at % 1)))})`;
  });
}

export class Plot {
  constructor(parent, title, names) {
    const shades = colours(names.length);
    const line = style("--line");
    const ink = style("--soft");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui", size: 58 };
    this.title = title;
    this.parent = parent;
    parent.append(make("h4", {}, title));
    this.plot = new globalThis.uPlot({
      width: Math.max(240, parent.clientWidth),
      height: HEIGHT,
      cursor: { y: false },
      legend: { show: true, live: false },
      scales: { x: { time: false, range: [1, STEPS] }, y: { distr: 3 } },
      axes: [{ ...axis, size: 30 }, { ...axis, values: (_, ticks) => ticks.map((t) => (t && Number.isInteger(Math.log10(t)) ? short(t, 1) : "")) }],
      series: [{}, ...names.map((label, i) => ({ label, stroke: shades[i], width: names.length > 1 ? 1.5 : 2, points: { show: false } }))],
    }, [[], ...names.map(() => [])], parent);
    this.watcher = new ResizeObserver(() => this.plot.setSize({ width: Math.max(240, parent.clientWidth), height: HEIGHT }));
    this.watcher.observe(parent);
  }

  /** Draw the curves. What is not finite or not above 0 leaves a gap: a logarithm has no place for it. */
  show(steps, curves) {
    const drawn = curves.map((curve) => curve.map((v) => (Number.isFinite(v) && v > 0 ? v : null)));
    this.plot.setData([steps, ...drawn]);
    const [first, last] = [curves[0][0], curves[0].at(-1)];
    this.parent.setAttribute("role", "img");
    this.parent.setAttribute("aria-label", `${this.title}: ${short(first)} → ${short(last)}`);
  }

  destroy() {
    this.watcher.disconnect();
    this.plot.destroy();
    this.parent.replaceChildren();
  }
}
