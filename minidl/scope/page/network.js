// The network at a glance: layer by layer the signal forward and the gradient backward.

import { settings } from "scope/controls";
import { fill, find, make, table } from "scope/dom";
import { number, percent, raised, short } from "scope/numbers";
import { prose, say } from "scope/words";

const [LEFT, RIGHT, HEIGHT, GAP] = [52, 30, 190, 30]; // pixels: margins, height, between charts
const TWO = 800; // pixels: from this width on two charts stand side by side

/** The factor from one convolution to the next, on average: of the signal, or of the gradient. */
export function growth(layers, what) {
  const rows = layers.filter((layer) => layer.kind === "Conv2d");
  const sizes = (rows.length > 1 ? rows : layers).map((layer) => number(layer[what]));
  if (what === "gradient") sizes.reverse(); // it runs from the last layer to the first
  return (sizes.at(-1) / sizes[0]) ** (1 / Math.max(1, sizes.length - 1));
}

/** A layer's name for readers: the convolutions are counted. */
export function layerName(layers, index) {
  const { kind } = layers[index];
  const alike = layers.filter((layer) => layer.kind === kind);
  const name = { Conv2d: say("conv"), Dense: say("dense") }[kind.replace("WeightNorm", "")] ?? kind;
  return alike.length > 1 ? `${name} ${alike.indexOf(layers[index]) + 1}` : name;
}

/** The name for readers of the layer with this path; the path itself where it is not shown. */
export function nameAt(layers, path) {
  const index = layers.findIndex((layer) => layer.name === path);
  return index < 0 ? path : layerName(layers, index);
}

/** [low, high]: exponents of the powers of ten between which all these sizes lie. */
function decades(sizes) {
  const logs = sizes.filter((x) => x > 0 && Number.isFinite(x)).map(Math.log10);
  const low = Math.floor(Math.min(...logs, 0) - 0.15);
  return [low, Math.max(low + 2, Math.ceil(Math.max(...logs, low + 2) + 0.15))];
}

/** One panel: measured sizes as dots on a line, theory's as a dashed line. A dotted line shows how a
 * factor of 1 at every layer would look, from where the way through the convolutions begins. */
function panel(layers, what, point) {
  const measured = layers.map((layer) => number(layer[what]));
  const expected = layers.map((layer) => number(layer[`expected_${what}`]));
  const [low, high] = decades([...measured, ...expected]);
  const room = find("#network").clientWidth;
  const width = Math.max(300, room < TWO ? room : (room - GAP) / 2);
  const step = (width - LEFT - RIGHT) / Math.max(1, layers.length - 1);
  const x = (i) => LEFT + 8 + i * step;
  const y = (v) => {
    const log = Number.isNaN(v) || v === Infinity ? high : v > 0 ? Math.log10(v) : low;
    return 14 + ((high - log) / (high - low)) * (HEIGHT - 34);
  };
  const every = Math.ceil((high - low) / 5);
  const grid = [];
  for (let power = high; power >= low; power -= every)
    grid.push(
      make("line", { x1: LEFT, x2: width, y1: y(10 ** power), y2: y(10 ** power), class: "grid" }),
      make("text", { x: LEFT - 8, y: y(10 ** power) + 4, class: "tick" }, power === 0 ? "1" : `10${raised(power)}`));
  const line = (sizes, name) =>
    make("path", { class: name, d: sizes.map((v, i) => `${i ? "L" : "M"}${x(i)} ${y(v)}`).join("") });
  const dots = layers.map((layer, i) => {
    const broken = !Number.isFinite(measured[i]);
    const name = `${layerName(layers, i)}: ${short(measured[i])} (${say("theory")} ${short(expected[i])})`;
    const kind = broken ? "broken" : `dot ${what}`;
    const r = layers.length > 20 ? 3 : 4.5;
    return make("circle", { cx: x(i), cy: y(measured[i]), r, class: kind }, make("title", {}, name));
  });
  const bars = layers.map((_, i) => make("rect", {
    x: x(i) - step / 2, y: 0, width: step, height: HEIGHT, class: "column", "data-layer": i,
    onpointerenter: () => point(i),
  }));
  const named = Math.ceil((30 * layers.length) / width); // every so many layers have room for their name
  const names = layers.map((layer, i) => {
    const name = layer.kind.includes("Dense") ? say("dense") : i + 1;
    return i % named ? null : make("text", { x: x(i), y: HEIGHT - 2, class: "tick middle" }, name);
  });
  const start = what === "signal" ? 0 : layers.findLastIndex((layer) => layer.kind.includes("Conv2d"));
  const flat = measured.map(() => measured.at(start));
  const factor = growth(layers, what);
  const ends = { first: short(measured[0]), last: short(measured.at(-1)) };
  const label = say(`chart.${what}`, { ...ends, growth: short(factor) });
  return make("figure", { class: `chart ${what}` },
    make("figcaption", {}, make("b", {}, say(what)), make("span", { class: "way" }, say(`way.${what}`)),
      make("span", { class: "key" }, make("i", { class: "dash" }), say("theory"),
        make("i", { class: "dash dots" }), say("flat"))),
    make("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label },
      bars, grid, make("text", { x: LEFT - 8, y: HEIGHT - 2, class: "tick" }, say("layer")),
      line(flat, "flat"), line(expected, "theory"), line(measured, `measured ${what}`), dots, names));
}

/** What was measured: the factors from layer to layer, and the reason for them, from the weights. */
function reason(view) {
  const { layers } = view;
  const why = [];
  const inner = layers.filter((layer) => layer.kind.includes("Conv2d"));
  const middle = inner[Math.floor(inner.length / 2)];
  const forward = growth(layers, "signal");
  const backward = growth(layers, "gradient");
  const count = Math.max(1, inner.length - 1);
  const numbers = {
    growth: short(forward),
    gradient: short(backward),
    count,
    power: raised(count),
    total: short(forward ** count, 2),
    back: short(backward ** count, 2),
  };
  const lines = [make("p", { class: "factor" },
    make("span", {}, say("per.layer")),
    make("b", { class: "signal" }, say("times", { growth: short(forward) })),
    make("b", { class: "gradient" }, say("times.back", { growth: short(backward) })))];
  if (middle && Number.isFinite(forward * backward)) lines.push(make("p", {}, say("product", numbers)));
  const chained = !["batch_norm", "residual"].includes(settings.body); // one weight after the other
  if (middle && chained && view.activation === "ReLU" && middle.kind === "Conv2d") {
    const [n, sigma] = [number(middle.fan_in), number(middle.sigma)];
    const factor = Math.sqrt((n * sigma * sigma) / 2);
    const values = { n, sigma: short(sigma), factor: short(factor) };
    for (const part of ["why", "why.back"]) why.push(prose(say(part, values), { class: "why" }));
  }
  return [lines, why];
}

/** Dead units and update ÷ weight of each layer, as a table that is also the chart's text. */
function layerTable(layers) {
  const heads = ["layer", "signal", "theory", "gradient", "theory", "update", "dead"].map((name) => say(name));
  const rows = layers.map((layer, i) => {
    const update = number(layer.update);
    const fast = update > 0.1;
    return make("tr", { "data-layer": i },
      make("th", { scope: "row" }, layerName(layers, i)),
      make("td", { class: "signal" }, short(layer.signal)),
      make("td", {}, short(layer.expected_signal)),
      make("td", { class: "gradient" }, short(layer.gradient)),
      make("td", {}, short(layer.expected_gradient)),
      make("td", { class: fast ? "warn" : "" }, layer.update == null ? "–" : short(update, 2)),
      make("td", { class: layer.dead > 0.5 ? "warn" : "" }, layer.dead == null ? "–" : percent(layer.dead)));
  });
  return table(say("table.about"), heads, rows);
}

/** Draw the tab. */
export function drawNetwork(view) {
  const { layers } = view;
  const point = (index) => {
    for (const element of find("#network").querySelectorAll("[data-layer]"))
      element.classList.toggle("pointed", Number(element.dataset.layer) === index);
  };
  const charts = ["signal", "gradient"].map((what) => panel(layers, what, point));
  const [lines, why] = reason(view);
  fill(find("#network"), lines, make("div", { class: "charts" }, charts), why, layerTable(layers));
}
