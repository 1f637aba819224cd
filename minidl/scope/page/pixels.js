// The pixels: the change of the loss by each of them, as the gradient predicts it and as it is.

import { fill, find, make, table } from "scope/dom";
import { imageChoice } from "scope/operations";
import { settings } from "scope/controls";
import { short, unpack } from "scope/numbers";
import { pixelChange } from "scope/supply";
import { Tiles, legend, statistics } from "scope/tiles";
import { say } from "scope/words";

const DELTAS = [0.01, 0.1, 1, -1];
const KEPT = 8; // rows of the table
let delta = 1;
let tried = [];
let triedFor = ""; // the settings and the image that the rows of the table belong to

/** Draw the tab. */
export function drawPixels(page, show) {
  const { values, loss, image } = page.operations;
  const [{ value, gradient }] = values; // the first value is the images
  const about = JSON.stringify([settings, image]);
  if (about !== triedFor) tried = [];
  triedFor = about;
  const pixels = unpack(value.data);
  const slopes = unpack(gradient.data);
  const read = make("p", { class: "note", id: "pixel-read", "aria-live": "polite" }, say("pixels.hint"));
  const point = (index) => {
    for (const tiles of [picture, map]) tiles.mark(index < 0 ? [] : [{ index, colour: "--here" }]);
    if (index < 0) return;
    const place = picture.place(index).join(", ");
    read.textContent = say("pixel.at", { place, value: short(pixels[index]), slope: short(slopes[index]) });
  };
  const pick = async (index) => {
    const [channel, row, column] = picture.place(index);
    const change = delta;
    const found = await pixelChange({ ...settings }, image, { channel, row, column }, change);
    const truth = found === null || typeof found === "number" ? found : unpack(found)[index];
    const place = `${channel}, ${row}, ${column}`;
    tried = [{ place, change, predicted: slopes[index] * change, truth }, ...tried].slice(0, KEPT);
    drawTried();
  };
  const picture = new Tiles(value.data, { name: say("the.image"), grey: true, size: 330, point, pick });
  const stats = statistics(gradient.stats);
  const map = new Tiles(gradient.data, { name: "∂L/∂pixel", about: stats, size: 330, point, pick });
  const choices = DELTAS.map((d) => {
    const choose = () => (delta = d);
    const radio = make("input", { type: "radio", name: "delta", value: d, checked: d === delta, onchange: choose });
    return make("label", {}, radio, (d > 0 ? "+" : "") + short(d));
  });
  const choice = make("fieldset", { class: "choice" }, make("legend", {}, say("delta")), choices);
  fill(find("#pixels"), make("p", {}, say("pixels.about", { loss: short(loss, 4) })),
    make("div", { class: "bar" }, choice, imageChoice(page, show)), legend(),
    make("div", { class: "pictures" }, picture.figure, map.figure), read,
    make("div", { id: "tried", "aria-live": "polite" }));
  drawTried();
}

function drawTried() {
  if (!tried.length) return;
  const heads = ["pixel", "change", "predicted", "truth", "ratio"].map((name) => say(name));
  const rows = tried.map(({ place, change, predicted, truth }) => make("tr", {},
    make("td", {}, place), make("td", {}, short(change)), make("td", {}, short(predicted, 4)),
    make("td", {}, truth === null ? say("not.recorded.short") : short(truth, 4)),
    make("td", {}, truth ? short(predicted / truth) : "–")));
  fill(find("#tried"), table(say("tried.about"), heads, rows));
}
