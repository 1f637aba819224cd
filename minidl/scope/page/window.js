// A sliding window, written out: which numbers make an output, and which gradients reach an input.

import { make } from "scope/dom";
import { fixed, places, short } from "scope/numbers";
import { say } from "scope/words";

const DIGITS = 5; // of the largest term of a sum that is written out

/** For each tap of the window at output place (r, c): the tap, and the input pixel under it. */
function* taps(window, r, c) {
  const { size, stride, pads, dilation } = window;
  for (let i = 0; i < size[0]; i++)
    for (let j = 0; j < size[1]; j++)
      yield { i, j, row: r * stride[0] + i * dilation[0] - pads[0], column: c * stride[1] + j * dilation[1] - pads[1] };
}

/** For an input pixel (p, q): the taps and the output places whose window has it under that tap. */
function* placesOver(window, p, q, height, width) {
  const { size, stride, pads, dilation } = window;
  for (let i = 0; i < size[0]; i++)
    for (let j = 0; j < size[1]; j++) {
      const [r, c] = [(p + pads[0] - i * dilation[0]) / stride[0], (q + pads[1] - j * dilation[1]) / stride[1]];
      const whole = Number.isInteger(r) && Number.isInteger(c);
      if (whole && r >= 0 && c >= 0 && r < height && c < width) yield { i, j, r, c };
    }
}

/** y[o,r,c] = b[o] + Σ w·x: the products by input channel, and the pixels they came from. */
export function forwardSum(window, x, w, b, [o, r, c]) {
  const perGroup = w.shape[1];
  const first = Math.floor(o / (w.shape[0] / window.groups)) * perGroup;
  const groups = [];
  const pixels = [];
  for (let k = 0; k < perGroup; k++) {
    const terms = [];
    for (const { i, j, row, column } of taps(window, r, c)) {
      const at = x.index(first + k, row, column);
      if (at < 0) continue; // padding: 0
      pixels.push(at);
      const name = `w[${o},${k},${i},${j}]·x[${first + k},${row},${column}]`;
      terms.push({ name, a: w.values[w.index(o, k, i, j)], b: x.values[at] });
    }
    groups.push({ name: say("channel", { n: first + k }), terms });
  }
  if (b) groups.push({ name: `b[${o}]`, terms: [{ name: `b[${o}]`, a: b.values[o], b: 1 }] });
  return { groups, pixels };
}

/** ∂L/∂x[k,p,q] = Σ w·g over the outputs that pixel went into: the products by output channel. */
export function backwardSum(window, g, w, [k, p, q]) {
  const [outputs, perGroup] = w.shape;
  const each = outputs / window.groups;
  const group = Math.floor(k / perGroup);
  const within = k % perGroup;
  const groups = [];
  const pixels = [];
  for (let o = group * each; o < (group + 1) * each; o++) {
    const terms = [];
    for (const { i, j, r, c } of placesOver(window, p, q, g.shape[1], g.shape[2])) {
      const at = g.index(o, r, c);
      pixels.push(at);
      const name = `w[${o},${within},${i},${j}]·g[${o},${r},${c}]`;
      terms.push({ name, a: w.values[w.index(o, within, i, j)], b: g.values[at] });
    }
    groups.push({ name: say("output.channel", { n: o }), terms });
  }
  return { groups, pixels };
}

/** A pooling's window: its pixels, and the one that won (-1 where none is kept). */
export function pooled(window, x, winners, [k, r, c]) {
  const tap = winners ? winners.values[winners.index(k, r, c)] : -1;
  const pixels = [];
  let winner = -1;
  for (const { i, j, row, column } of taps(window, r, c)) {
    const at = x.index(k, row, column);
    if (at < 0) continue;
    pixels.push(at);
    if (i * window.size[1] + j === tap) winner = at;
  }
  return { pixels, winner };
}

/** The windows over a pixel, and those of them that it won. */
export function wonBy(window, y, winners, [k, p, q]) {
  const over = [];
  const won = [];
  for (const { i, j, r, c } of placesOver(window, p, q, y.shape[1], y.shape[2])) {
    const at = y.index(k, r, c);
    over.push(at);
    if (winners && winners.values[at] === i * window.size[1] + j) won.push(at);
  }
  return { over, won };
}

/** Round numbers to so many places so that they add up to the rounded total, if they do add up. */
export function addUp(numbers, total, count) {
  const unit = 10 ** -count;
  const rounded = numbers.map((n) => Math.round(n / unit));
  let left = Math.round(total / unit) - rounded.reduce((a, b) => a + b, 0);
  const apart = numbers.map((n, i) => n / unit - rounded[i]);
  if (Math.abs(left) <= numbers.length) {
    const order = apart.map((_, i) => i).sort((a, b) => Math.sign(left) * (apart[b] - apart[a]));
    for (const i of order) {
      if (left === 0) break;
      rounded[i] += Math.sign(left);
      left -= Math.sign(left);
    }
  }
  return { parts: rounded.map((n) => n * unit), fits: left === 0 };
}

/** The sum in numbers: subtotals by channel, and every product of the channel that counts most. */
export function written(name, { groups }, total) {
  const subtotals = groups.map(({ terms }) => terms.reduce((sum, { a, b }) => sum + a * b, 0));
  const finite = [...subtotals, total].every(Number.isFinite);
  const count = places([...subtotals, total], DIGITS);
  const { parts, fits } = finite ? addUp(subtotals, total, count) : { parts: subtotals, fits: true };
  const size = ({ terms }) => terms.reduce((sum, { a, b }) => sum + Math.abs(a * b), 0);
  const most = groups.reduce((best, g, i) => (g.terms.length > 1 && size(g) > size(groups[best]) ? i : best), 0);
  const { terms } = groups[most];
  const exact = terms.map(({ a, b }) => a * b);
  const products = finite ? addUp(exact, parts[most], count).parts : exact;
  const amount = (value) => make("td", { class: "number" }, fixed(value, count));
  const detail = terms.map(({ name: term, a, b }, i) =>
    make("tr", {}, make("td", {}, term),
      make("td", { class: "number" }, `${short(a, 4)} · ${short(b, 4)}`), amount(products[i])));
  const all = groups.map((group, i) =>
    make("tr", { class: i === most ? "most" : "" }, make("td", {}, group.name), make("td", {}, ""), amount(parts[i])));
  return make("div", { class: "sum" },
    make("p", {}, make("b", {}, `${name} = ${short(total, 5)}`), " ", say(fits ? "adds.up" : "adds.not")),
    make("div", { class: "columns" },
      make("table", { class: "parts" }, make("caption", {}, say("by.channel")), all,
        make("tr", { class: "total" }, make("td", {}, say("together")), make("td", {}, ""), amount(total))),
      make("table", { class: "products" }, make("caption", {}, say("products.of", { name: groups[most].name })), detail,
        make("tr", { class: "total" }, make("td", {}, groups[most].name), make("td", {}, ""), amount(parts[most])))));
}
