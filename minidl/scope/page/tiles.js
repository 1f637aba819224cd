// An array as an image: channels as tiles, blue below 0 and orange above, in both themes.

import { make, parts, style } from "scope/dom";
import { number, short, unpack } from "scope/numbers";
import { say } from "scope/words";

const LONG = 64; // a row with more values is folded into a square

/** How an array is laid out: `count` tiles of height × width cells, `each` of them filled. */
function layout(shape) {
  const row = shape.at(-1) ?? 1;
  if (shape.length < 3 && row > LONG) {
    const width = Math.ceil(Math.sqrt(row));
    const count = shape.length < 2 ? 1 : shape[0];
    return { count, width, height: Math.ceil(row / width), each: row, columns: 0 };
  }
  const height = shape.at(-2) ?? 1;
  const count = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const columns = shape.length === 4 && shape[1] > 3 ? shape[1] : 0; // kernels: a row for each output
  return { count, width: row, height, each: row * height, columns };
}

/** Colours from the most negative to the most positive value. */
function palette(grey) {
  const names = grey ? ["--grey-low", "--grey-high"] : ["--negative", "--zero", "--positive"];
  const stops = names.map((name) => parts(style(name)));
  return (t) => {
    const at = Math.min(0.9999, Math.max(0, t)) * (stops.length - 1);
    const [a, b] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    return a.map((v, i) => Math.round(v + (b[i] - v) * (at % 1)));
  };
}

/** Where a value lies on the scale of colours, 0 to 1. Small ones are lifted by the square root. */
function positions(values, grey) {
  const finite = values.filter(Number.isFinite);
  if (grey) {
    const low = finite.reduce((a, b) => Math.min(a, b), Infinity);
    const high = finite.reduce((a, b) => Math.max(a, b), -Infinity);
    return (x) => (high > low ? (x - low) / (high - low) : 0.5);
  }
  const largest = finite.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  return (x) => 0.5 + 0.5 * Math.sign(x) * Math.sqrt(Math.abs(x) / largest);
}

/**
 * A picture of an array, in which cells can be pointed at and marked.
 * options: name; about (a line below); grey; size (its largest width in pixels). point(index) is
 * called for the cell under the mouse or the keyboard's cursor, pick(index) for a clicked one.
 */
export class Tiles {
  constructor(packed, options) {
    this.values = unpack(packed);
    this.shape = packed.shape;
    this.options = options;
    Object.assign(this, layout(packed.shape));
    const { width, height, count } = this;
    this.columns ||= Math.max(1, Math.ceil(Math.sqrt((count * 1.5 * height) / width)));
    this.columns = Math.min(this.columns, count);
    this.rows = Math.ceil(count / this.columns);
    const size = options.size ?? 300;
    const fits = Math.min(size / (this.columns * (width + 1)), (size * 1.1) / (this.rows * (height + 1)));
    this.cell = Math.max(1, Math.min(26, Math.floor(fits)));
    this.canvas = make("canvas", {
      tabindex: options.point || options.pick ? 0 : null,
      role: "img",
      "aria-label": options.name,
      width: this.columns * (width * this.cell + 2) + 1,
      height: this.rows * (height * this.cell + 2) + 1,
    });
    this.cursor = -1;
    this.figure = make("figure", { class: "tiles" },
      make("figcaption", {}, options.name), this.canvas, options.about ? make("small", {}, options.about) : null);
    this.drawCells();
    if (options.point || options.pick) this.listen();
  }

  drawCells() {
    const paint = this.canvas.getContext("2d");
    const colour = palette(this.options.grey);
    const at = positions(this.values, this.options.grey);
    const broken = style("--broken");
    paint.fillStyle = style("--line");
    for (let tile = 0; tile < this.count; tile++) {
      const [x, y] = this.corner(tile * this.each);
      paint.fillRect(x - 1, y - 1, this.width * this.cell + 2, this.height * this.cell + 2);
    }
    for (let i = 0; i < this.values.length; i++) {
      const [x, y] = this.corner(i);
      const value = this.values[i];
      paint.fillStyle = Number.isFinite(value) ? `rgb(${colour(at(value))})` : broken;
      paint.fillRect(x, y, this.cell, this.cell);
      if (!Number.isFinite(value) && this.cell > 4) {
        paint.fillStyle = "#fff";
        paint.fillRect(x + 1, y + this.cell / 2 - 0.5, this.cell - 2, 1);
        if (Number.isNaN(value)) paint.fillRect(x + this.cell / 2 - 0.5, y + 1, 1, this.cell - 2);
      }
    }
    this.base = paint.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  /** The upper left corner of a cell. */
  corner(index) {
    const tile = Math.floor(index / this.each);
    const inside = index % this.each;
    const x = (tile % this.columns) * (this.width * this.cell + 2) + (inside % this.width) * this.cell + 1;
    const y = Math.floor(tile / this.columns) * (this.height * this.cell + 2);
    return [x, y + Math.floor(inside / this.width) * this.cell + 1];
  }

  /** The cell at a place of the page, or -1. */
  indexAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) * this.canvas.width) / box.width - 1;
    const y = ((event.clientY - box.top) * this.canvas.height) / box.height - 1;
    const [wide, high] = [this.width * this.cell + 2, this.height * this.cell + 2];
    const [column, row] = [Math.floor((x % wide) / this.cell), Math.floor((y % high) / this.cell)];
    const tile = Math.floor(y / high) * this.columns + Math.floor(x / wide);
    const inside = row * this.width + column;
    const good = x >= 0 && y >= 0 && column < this.width && row < this.height && tile < this.count;
    const index = tile * this.each + inside;
    return good && inside < this.each && index < this.values.length ? index : -1;
  }

  /** Outline cells: [{index, colour}]. */
  mark(cells) {
    const paint = this.canvas.getContext("2d");
    paint.putImageData(this.base, 0, 0);
    for (const { index, colour } of cells) {
      if (index < 0 || index >= this.values.length) continue;
      const [x, y] = this.corner(index);
      paint.lineWidth = this.cell > 6 ? 2 : 1;
      paint.strokeStyle = style(colour ?? "--mark");
      paint.strokeRect(x - 0.5, y - 0.5, this.cell + 1, this.cell + 1);
    }
  }

  listen() {
    const { point, pick } = this.options;
    const moveTo = (index) => {
      this.cursor = index;
      point?.(index);
    };
    this.canvas.addEventListener("pointermove", (event) => moveTo(this.indexAt(event)));
    this.canvas.addEventListener("pointerdown", (event) => moveTo(this.indexAt(event)));
    this.canvas.addEventListener("click", (event) => {
      const index = this.indexAt(event);
      if (index >= 0) pick?.(index);
    });
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.width, ArrowDown: this.width }[event.key];
      if (step !== undefined) {
        const next = Math.max(0, Math.min(this.values.length - 1, Math.max(0, this.cursor) + step));
        moveTo(next);
      } else if (event.key === "Enter" && this.cursor >= 0) pick?.(this.cursor);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** The place of a cell: its leading indices, then row and column. */
  place(index) {
    const found = [];
    for (const n of [...this.shape].reverse()) {
      found.unshift(index % n);
      index = Math.floor(index / n);
    }
    return found;
  }

  /** The cell at these indices, or -1 where they lie outside. */
  index(...place) {
    let found = 0;
    for (const [axis, n] of this.shape.entries()) {
      if (place[axis] < 0 || place[axis] >= n) return -1;
      found = found * n + place[axis];
    }
    return found;
  }
}

/** The line that explains the colours. */
export const legend = () => make("p", { class: "legend" }, say("below"), make("i", { class: "ramp" }), say("above"),
  make("small", {}, say("root")), make("i", { class: "lost" }), make("small", {}, say("lost")));

/** A line about an array: its size, its range, what is 0 and what is not finite. */
export function statistics(stats) {
  const parts = [`${say("rms")} ${short(stats.rms)}`];
  if (stats.min !== null) parts.push(`${short(stats.min)} … ${short(stats.max)}`);
  if (stats.zero > 0) parts.push(say("zeros", { share: `${Math.round(100 * number(stats.zero))} %` }));
  if (stats.infinite) parts.push(say("infinite", { count: stats.infinite.toLocaleString("en") }));
  if (stats.nan) parts.push(say("nan", { count: stats.nan.toLocaleString("en") }));
  return parts.join(" · ");
}
