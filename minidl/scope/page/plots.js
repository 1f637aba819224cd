// Curves over the steps of a training, by uPlot, on a logarithmic axis.

import { make, parts, style } from "scope/dom";
import { raised, short } from "scope/numbers";

const HEIGHT = 190;
const STEPS = 60;

/** Colours from dark blue over green to yellow: from the first layer to the last, for every eye. */
function colours(count) {
  if (count === 1) return [style("--signal")];
  const stops = style("--sequence").split(",").map(parts);
  return Array.from({ length: count }, (_, i) => {
    const at = (i / (count - 1)) * (stops.length - 1) * 0.9999;
    const [a, b] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * (at % 1)))})`;
  });
}

/** At most six marks on a logarithmic axis: powers of ten, or 1, 2 and 5 of each where it is short. */
function marks(_, __, low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.ceil((last - first + 1) / 6);
  const found = [];
  for (let power = first; power <= last; power += every)
    for (const digit of last - first < 3 ? [1, 2, 5] : [1]) found.push(digit * 10 ** power);
  return found.filter((mark) => mark >= low && mark <= high);
}

const markWords = (mark) => {
  const power = Math.round(Math.log10(mark));
  return Math.abs(power) > 3 ? `10${raised(power)}` : short(mark, 1);
};

export class Plot {
  constructor(parent, title, names) {
    const shades = colours(names.length);
    const line = style("--line");
    const ink = style("--soft");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const words = { filter: (_, found) => found, values: (_, found) => found.map(markWords) };
    const sizes = { ...axis, size: 58, splits: marks, ...words };
    this.title = title;
    this.parent = parent;
    parent.append(make("h4", {}, title));
    this.plot = new globalThis.uPlot({
      width: Math.max(240, parent.clientWidth),
      height: HEIGHT,
      cursor: { y: false },
      legend: { show: true, live: false },
      scales: { x: { time: false, range: [1, STEPS] }, y: { distr: 3 } },
      axes: [{ ...axis, size: 30 }, sizes],
      series: [{}, ...names.map((label, i) => ({ label, stroke: shades[i], width: 1.6, points: { show: false } }))],
    }, [[], ...names.map(() => [])], parent);
    const fit = () => this.plot.setSize({ width: Math.max(240, parent.clientWidth), height: HEIGHT });
    this.watcher = new ResizeObserver(fit);
    this.watcher.observe(parent);
  }

  /** Draw the curves. A value that is not finite or not above 0 leaves a gap: it has no logarithm. */
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
