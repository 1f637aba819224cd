// Op by op: forward through every operation, then back through every pullback.

import { fill, find, make } from "scope/dom";
import { nameAt } from "scope/network";
import { short, unpack } from "scope/numbers";
import { facts } from "scope/supply";
import { Tiles, legend, statistics } from "scope/tiles";
import { backwardSum, forwardSum, pooled, wonBy, written } from "scope/window";
import { say } from "scope/words";

let at = 0;
let view = null;
let layers = [];

/** Every step: {operation} forward, {operation, into, part} backward, {into} for a sum. */
function steps() {
  const forward = view.operations.map((_, operation) => ({ way: "forward", operation }));
  return [...forward, ...view.pulls.map((pull) => ({ way: "backward", ...pull }))];
}

const nameOf = (value) => view.values[value].name;
const slope = (value) => `∂L/∂${nameOf(value)}`;

function stepName(step) {
  if (step.operation === null) return `Σ ${slope(step.into)}`;
  const { name } = view.operations[step.operation];
  return step.way === "forward" ? name : `${name} → ${slope(step.into)}`;
}

/** Move by so many steps, backwards if negative. */
export function stepBy(by) {
  if (view === null) return;
  const last = steps().length - 1;
  at = Math.max(0, Math.min(last, at + by));
  drawStep();
}

/** Draw the tab. `show` asks the engine again, after another image was chosen. */
export function drawOperations(page, show) {
  view = page.operations;
  layers = page.network.layers;
  at = Math.min(at, steps().length - 1);
  const button = (text, label, by) =>
    make("button", { type: "button", "aria-label": say(label), title: say(label), onclick: () => stepBy(by) }, text);
  const bar = make("div", { class: "bar" },
    button("|◀", "first", -Infinity), button("◀", "previous", -1),
    button("▶", "next", 1), button("▶|", "last", Infinity),
    make("input", {
      type: "range", id: "position", min: 0, max: steps().length - 1, value: at, "aria-label": say("position"),
      oninput: (event) => stepBy(Number(event.target.value) - at),
    }),
    make("span", { id: "where" }), imageChoice(page, show));
  const list = make("ol", { id: "steps", "aria-label": say("steps") });
  const detail = make("div", { id: "step", "aria-live": "polite" });
  fill(find("#operations"), bar, legend(), make("div", { class: "split" }, list, detail));
  drawList();
  drawStep();
}

/** The number of the image that is shown, and its label. */
export function imageChoice(page, show) {
  const last = Math.max(0, page.labels.length - 1);
  const label = page.labels[page.image];
  return make("label", { class: "image" }, say("image"), make("input", {
    type: "number", min: 0, max: last, value: page.image, id: "image",
    onchange: (event) => {
      page.image = Math.min(last, Math.max(0, Math.round(Number(event.target.value)) || 0));
      show();
    },
  }), page.labels.length ? say("label", { label: facts.classes[label] ?? label }) : "");
}

function drawList() {
  const all = steps();
  const rows = all.map((step, i) => {
    const layer = step.operation === null ? "" : view.operations[step.operation].layer;
    const first = i === 0 || all[i - 1].way !== step.way;
    const button = make("button", { type: "button", "data-step": i, onclick: () => stepBy(i - at) },
      make("span", { class: "arrow" }, step.way === "forward" ? "→" : "←"), stepName(step), make("small", {}, layer));
    return [first ? make("li", { class: "heading" }, say(step.way)) : null, make("li", { class: step.way }, button)];
  });
  fill(find("#steps"), rows.flat());
}

/** Draw the step at which we are. */
function drawStep() {
  const all = steps();
  const step = all[at];
  find("#position").value = at;
  find("#where").textContent = `${at + 1} / ${all.length}`;
  for (const button of find("#steps").querySelectorAll("button")) {
    const here = Number(button.dataset.step) === at;
    button.setAttribute("aria-current", here ? "step" : "false");
    if (here) {
      const list = find("#steps");
      const top = button.getBoundingClientRect().top - list.getBoundingClientRect().top;
      if (top < 30 || top > list.clientHeight - 40) list.scrollTop += top - list.clientHeight / 3;
    }
  }
  document.body.dataset.step = at;
  fill(find("#step"), step.operation === null ? sumStep(step) : operationStep(step));
}

/** A picture of a value or of its gradient. */
function picture(value, what, options = {}) {
  const { data, stats } = options.part ?? view.values[value][what];
  const name = what === "gradient" ? slope(value) : nameOf(value);
  const { shape, batched } = view.values[value];
  const sizes = (batched ? shape.slice(1) : shape).join("×") || say("scalar");
  const note = batched ? `, ${say("one.of", { count: shape[0] })}` : "";
  const size = batched ? 250 : 180;
  const grey = view.values[value].kind === "images" && what === "value";
  return new Tiles(data, { size, ...options, name: `${name} (${sizes}${note})`, about: statistics(stats), grey });
}

/** Several parts of one gradient, added up. */
function sumStep(step) {
  const parts = view.pulls.filter((pull) => pull.into === step.into && pull.part);
  const pictures = parts.map((pull) => picture(step.into, "gradient", { part: pull.part }).figure);
  const equals = make("span", { class: "sign" }, "=");
  return [
    make("h2", {}, stepName(step)),
    make("p", {}, say("sum.about", { name: nameOf(step.into), count: parts.length })),
    make("div", { class: "pictures" }, pictures, equals, picture(step.into, "gradient").figure),
  ];
}

function operationStep(step) {
  const operation = view.operations[step.operation];
  const { inputs, output } = operation;
  const forward = step.way === "forward";
  const { layer, kind } = operation;
  const known = nameAt(layers, layer);
  const place = layer ? (known === layer ? "" : `${known} · `) + say("in.layer", { layer, kind }) : "";
  const call = `${nameOf(output)} = ${operation.name}(${inputs.map(nameOf).join(", ")})`;
  const { name } = operation;
  const text = forward ? call : say("pull.about", { into: slope(step.into), from: slope(output), name });
  const hint = make("p", { class: "note" }, hintFor(operation));
  const panel = make("div", { class: "panel", "aria-live": "polite" });
  const { shown, pictures } = picturesOf(step, operation);
  connect(operation, shown, panel, step);
  return [
    make("h2", {}, stepName(step), " ", make("small", {}, place)),
    make("p", { class: "call" }, text),
    make("div", { class: "beside" },
      make("div", {}, pictures, operation.window ? hint : null, panel), sourceOf(operation, step)),
  ];
}

function hintFor(operation) {
  if (operation.name === "conv2d") return say("hint.conv");
  return operation.name === "max_pool2d" ? say("hint.pool") : say("hint.window");
}

/** The pictures of a step in two rows: what goes in, and what comes out. */
function picturesOf(step, operation) {
  const { inputs, output } = operation;
  const shown = {};
  const slides = operation.window !== null && view.values[output].value.data.shape.length === 3;
  const point = slides ? (name) => (index) => shown.point?.(name, index) : () => undefined;
  const draw = (name, value, what, part) => {
    if (view.values[value][what] === null) return null;
    shown[name] = picture(value, what, { point: point(name), ...(part ? { part } : {}) });
    return shown[name].figure;
  };
  const row = (name, figures) =>
    make("section", { class: "row" }, make("h3", {}, say(name)), make("div", { class: "pictures" }, figures));
  const role = (i) => ["x", "w", "b"][i] ?? `input${i}`;
  const operands = inputs.map((value, i) => draw(role(i), value, "value"));
  if (step.way === "forward") {
    const results = [draw("y", output, "value"), draw("g", output, "gradient")];
    return { shown, pictures: [row("goes.in", operands), row("comes.out", results)] };
  }
  const which = inputs.indexOf(step.into);
  const needed = operands.filter((_, i) => needsForPull(operation, which, i));
  const result = draw(`d${role(which)}`, step.into, "gradient", step.part);
  return { shown, pictures: [row("goes.in", [draw("g", output, "gradient"), ...needed]), row("comes.back", result)] };
}

/** Whether to show an input beside a gradient. In a convolution or a product, the gradient by one
 *  factor is made from the other factor alone; for other operations all inputs are shown. */
function needsForPull(operation, which, input) {
  if (!["conv2d", "linear"].includes(operation.name)) return true;
  return which === 0 ? input === 1 : which === 1 ? input === 0 : false;
}

/** When a cell is pointed at, mark the cells that it was made from, and write out the sum. */
function connect(operation, shown, panel, step) {
  const { window } = operation;
  if (!window) return;
  const { x, w, b, y, g, dx } = shown;
  const clear = () => [x, w, y, g, dx].forEach((tiles) => tiles?.mark([]));
  const cells = (indices, colour) => indices.map((index) => ({ index, colour }));
  const weights = w ?? picture(operation.inputs[1] ?? operation.inputs[0], "value");
  const winners = operation.winners ? new Tiles(operation.winners, { name: "", size: 1 }) : null;
  const convolution = operation.name === "conv2d";
  const whole = convolution && weights.shape[0] === view.values[operation.inputs[1]].shape[0];
  shown.point = (name, index) => {
    clear();
    const tiles = shown[name];
    if (index < 0 || !["x", "y", "g", "dx"].includes(name)) return;
    const spot = tiles.place(index);
    tiles.mark(cells([index], "--here"));
    const back = name === "x" || name === "dx"; // a pixel of the input: look at its gradient
    if (convolution && !whole) fill(panel, make("p", { class: "note" }, say("too.large")));
    else if (convolution && back && g) {
      const sum = backwardSum(window, g, weights, spot);
      g.mark(cells(sum.pixels));
      const gradient = view.values[operation.inputs[0]].gradient;
      const total = gradient && (dx ? dx.values : unpack(gradient.data))[index];
      if (gradient) fill(panel, written(`∂L/∂x[${spot}]`, sum, total));
    } else if (convolution && x && y && name === "y") {
      const sum = forwardSum(window, x, weights, b, spot);
      x.mark(cells(sum.pixels));
      g?.mark(cells([index], "--here"));
      fill(panel, written(`y[${spot}]`, sum, y.values[index]));
    } else if (!convolution) pointAtPool(operation, { x, y, g, dx }, { name, spot, index, winners, cells }, panel);
  };
}

function pointAtPool(operation, shown, { name, spot, index, winners, cells }, panel) {
  const { window } = operation;
  const { x, y, g, dx } = shown;
  const source = x ?? dx;
  const count = window.size[0] * window.size[1]; // the padding's zeros count in a mean
  const tell = (words, values) => fill(panel, make("p", {}, say(words, values)));
  if (name === "y" || name === "g") {
    const { pixels, winner } = pooled(window, source, winners, spot);
    for (const tiles of [x, dx]) tiles?.mark([...cells(pixels), ...(winner >= 0 ? cells([winner], "--here") : [])]);
    const values = pixels.map((i) => short(source.values[i], 4)).join(winners ? ", " : " + ");
    const value = short(shown[name].values[index], 4);
    if (name === "y") tell(winners ? "pool.max" : "pool.mean", { place: spot, values, value, count });
    else if (winner >= 0) tell("pool.to", { place: spot, winner: source.place(winner), value });
  } else {
    const { over, won } = wonBy(window, g ?? y, winners, spot);
    for (const tiles of [y, g]) tiles?.mark([...cells(over), ...cells(won, "--here")]);
    const values = (winners ? won : over).map((i) => short(g.values[i], 4)).join(" + ");
    if (!winners) tell("pool.shares", { place: spot, values, count });
    else tell(won.length ? "pool.won" : "pool.lost", { place: spot, values });
  }
}

/** The operation's source: its formula, and the pullback that ran, highlighted. */
function sourceOf(operation, step) {
  if (operation.source === null) return make("p", { class: "note" }, say("no.source"));
  const { file, line, text } = view.sources[operation.source];
  const ranges = [];
  const documented = /"""[\s\S]*?"""/.exec(text);
  if (documented) ranges.push([documented.index, documented.index + documented[0].length, "doc"]);
  const which = step.way === "backward" ? operation.inputs.indexOf(step.into) : -1;
  operation.formulas.forEach((place, i) => {
    if (place) ranges.push([...place, i === which ? "formula" : "other"]);
  });
  if (operation.fast) ranges.push([...operation.fast, which >= 0 ? "fast" : "other"]);
  const key = which < 0 ? null : make("p", { class: "key" },
    make("mark", { class: "formula" }, say(operation.fast ? "key.formula" : "key.ran")),
    operation.fast ? make("mark", { class: "fast" }, say("key.fast")) : null);
  const loop = view.sources[operation.loops[which + 1]]; // first of the value, then of each gradient
  const loops = loop && make("details", { class: "loops", open: true },
    make("summary", {}, say("loops", { place: `${loop.file}:${loop.line}` })), make("pre", {}, loop.text));
  const title = make("h3", {}, say("source"), " ", make("code", {}, `${file}:${line}`));
  return make("div", { class: "source" }, title, key, make("pre", {}, marked(text, ranges)), loops);
}

/** A text with some ranges marked: [start, end, class]. */
function marked(text, ranges) {
  const found = [];
  let done = 0;
  for (const [start, end, name] of ranges.sort((a, b) => a[0] - b[0])) {
    if (start < done) continue; // within the one before
    const tag = name === "doc" ? "span" : "mark";
    found.push(text.slice(done, start), make(tag, { class: name }, text.slice(start, end)));
    done = end;
  }
  return [...found, text.slice(done)];
}
