// The doctor's verdict before the first step, and the training that follows, as a film.

import { input, settings, valueWords } from "scope/controls";
import { fill, find, make } from "scope/dom";
import { layerName, nameAt } from "scope/network";
import { Plot } from "scope/plots";
import { number, percent, short } from "scope/numbers";
import { facts, film } from "scope/supply";
import { maybe, say } from "scope/words";

const PACE = 50; // milliseconds between two steps on the screen
const films = { A: null, B: null };
const compare = { on: false, control: "rate", value: null };
let cursor = 0;
let timer = null;
let stopper = null;
let plots = {};

/** The line above the tabs: the doctor's verdict and its cause. */
export function drawVerdict(page) {
  const doctor = page.network?.doctor;
  if (!doctor) return fill(find("#verdict"));
  const { verdict, regime } = doctor;
  const chance = number(doctor.numbers.chance);
  const sign = { healthy: "✓", watch: "!" }[verdict] ?? "✕";
  const cause = regime === "none" ? null : make("span", {}, ` · ${say(`regime.${regime}`)}`);
  const attributes = { class: verdict.replaceAll(" ", "-"), "data-verdict": verdict };
  fill(find("#verdict"), make("span", { class: "small" }, say("before")),
    make("b", attributes, `${sign} ${say(`verdict.${verdict}`)}`), cause,
    make("span", { class: "small" }, say("loss.now", { loss: short(page.network.loss, 4) }),
      chance > 0 ? say("loss.guess", { chance: short(chance) }) : ""));
  return null;
}

/** One finding: what was measured, the bound it passed, and what to do. */
function finding(found, layers) {
  const layer = nameAt(layers, found.layer);
  const numbers = { measured: short(found.measured), bound: short(found.threshold), layer };
  const why = maybe(`evidence.${found.code}`, found.evidence);
  const name = maybe(`finding.${found.code}`, found.code);
  return make("li", {}, make("b", {}, name), " ", say("measured", numbers),
    make("div", {}, why), make("em", {}, `→ ${cure(found)}`));
}

/** The cure of a finding, as settings in words. */
function cure(found) {
  const parts = Object.entries(found.cure ?? {}).filter(([name]) => name in { input: 0, init: 0, lr: 0 });
  if (!parts.length) return maybe(`cure.${found.code}`, found.prescription);
  const words = ([name, value]) => say(`cure.${name}`, { value: name === "lr" ? short(value, 2) : value });
  return parts.map(words).join(", ");
}

/** The doctor's findings, and how often such a verdict is right. */
function report({ doctor, layers }) {
  const { group, findings } = doctor;
  const rates = facts.rates[group];
  const wrong = {
    kind: say(`group.${group}`),
    count: rates.networks.toLocaleString("en"),
    recall: percent(rates.recall),
    precision: percent(rates.precision),
    false: percent(rates.false, 1),
  };
  const list = findings.length
    ? make("ul", { class: "findings" }, findings.slice(0, 3).map((found) => finding(found, layers)))
    : make("p", {}, say("no.findings"));
  return [make("h2", {}, say("doctor")), list, make("p", { class: "note", id: "rates" }, say("rates", wrong))];
}

/** Draw the tab. */
export function drawFate(page) {
  compare.value ??= facts.controls.find((c) => c.name === compare.control)?.default;
  const button = (name, action) => make("button", { type: "button", id: name, onclick: action }, say(`film.${name}`));
  const slider = make("input", {
    type: "range", id: "cursor", min: 0, max: 59, value: 0, "aria-label": say("film.cursor"),
    oninput: (event) => seek(Number(event.target.value)),
  });
  const bar = make("div", { class: "bar" }, button("go", run), button("pause", pause), button("rewind", rewind),
    button("again", again), slider, make("span", { id: "step-now" }));
  const ticked = () => {
    compare.on = box.checked;
    stopFilms();
    drawFate(page);
  };
  const box = make("input", { type: "checkbox", id: "compare", checked: compare.on, onchange: ticked });
  fill(find("#fate"), report(page.network), make("h2", {}, say("film")), make("p", {}, say("film.about")), bar,
    make("div", { class: "bar compare" }, make("label", {}, box, say("compare")), compare.on ? oneChange(page) : null),
    make("p", { id: "repeated", role: "status" }), make("div", { class: "films", id: "films" }));
  drawFilms();
}

/** The one thing that is different in B. */
function oneChange(page) {
  const list = make("select", { id: "changed", "aria-label": say("compare.what"), onchange: () => {
    compare.control = facts.controls[list.selectedIndex].name;
    compare.value = settings[compare.control];
    stopFilms();
    drawFate(page);
  } }, facts.controls.map((c) => make("option", { selected: c.name === compare.control }, say(`control.${c.name}`))));
  const control = facts.controls.find((c) => c.name === compare.control);
  const shown = make("output", {}, valueWords(control, compare.value));
  const field = input(control, compare.value, (value) => {
    compare.value = value;
    shown.textContent = valueWords(control, value);
    stopFilms();
  });
  field.id = "changed-to";
  return [list, field, shown];
}

/** Compare from now on, with this one thing changed. */
export function compareWith(control, value) {
  Object.assign(compare, { on: true, control, value });
}

/** Show one film alone from now on. */
export const alone = () => Object.assign(compare, { on: false });

/** Forget the films: they belong to other settings. */
export function stopFilms() {
  stopper?.abort();
  clearInterval(timer);
  timer = null;
  Object.assign(films, { A: null, B: null });
  document.body.dataset.film = "none";
  if (find("#films")) drawFilms();
}

/** Train with the settings, and with the one change, if two are compared. */
export async function run() {
  stopFilms();
  cursor = 0;
  stopper = new AbortController();
  const { signal } = stopper;
  films.A = newFilm({ ...settings });
  if (compare.on) films.B = newFilm({ ...settings, [compare.control]: compare.value });
  document.body.dataset.film = "running";
  drawFilms();
  play();
  for (const shown of [films.A, films.B]) if (shown) await receive(shown, signal);
  return all();
}

const newFilm = (of) => ({ settings: of, layers: [], frames: [], end: null, missing: false, error: "" });

async function receive(shown, signal) {
  try {
    const found = await film(shown.settings, (frame) => {
      if (frame.layers) shown.layers = frame.layers;
      else if (frame.end) shown.end = frame;
      else shown.frames.push(frame);
    }, signal);
    shown.missing = !found;
  } catch (error) {
    if (error.name !== "AbortError") shown.error = error.message;
  }
  if (!signal.aborted && ended()) seek(cursor);
}

const all = () => [films.A, films.B].filter(Boolean);
const length = () => Math.max(0, ...all().map((f) => f.frames.length));
const ended = () => all().length > 0 && all().every((f) => f.end || f.missing || f.error);

function play() {
  clearInterval(timer);
  timer = setInterval(() => {
    if (cursor < length() - 1) seek(cursor + 1);
    else if (ended()) {
      clearInterval(timer);
      timer = null;
      seek(cursor);
    }
  }, PACE);
}

function pause() {
  if (timer === null) return play();
  clearInterval(timer);
  timer = null;
  return seek(cursor);
}

function rewind() {
  cursor = 0;
  seek(0);
  play();
}

/** Train once more with the same seed, and compare every number. */
async function again() {
  if (!films.A?.end) return;
  const before = films.A;
  const after = newFilm(before.settings);
  await receive(after, new AbortController().signal);
  const same = before.frames.filter((frame, i) => JSON.stringify(frame) === JSON.stringify(after.frames[i])).length;
  const equal = same === before.frames.length && same === after.frames.length;
  find("#repeated").textContent = say(equal ? "same" : "differs", { same, count: before.frames.length });
  document.body.dataset.repeated = equal ? "same" : "differs";
  rewind();
}

/** Show the films up to a step. */
function seek(to) {
  cursor = Math.max(0, Math.min(to, length() - 1));
  if (!find("#cursor")) return;
  find("#cursor").max = Math.max(1, length() - 1);
  find("#cursor").value = cursor;
  find("#step-now").textContent = length() ? say("step.of", { step: cursor + 1, count: length() }) : "";
  find("#pause").textContent = say(timer === null ? "film.play" : "film.pause");
  for (const [name, shown] of Object.entries(films)) if (shown) drawProgress(name, shown);
  const done = ended() && cursor >= length() - 1;
  document.body.dataset.film = done ? "done" : "running";
  document.body.dataset.end = films.A?.end && done ? films.A.end.end : "";
}

/** How a film ended, in words. */
export function ending(shown) {
  if (shown.error) return say("failed", { reason: shown.error });
  if (shown.missing) return say("not.filmed");
  if (!shown.end) return say("training");
  const { end, step, accuracy, dead } = shown.end;
  const name = dead ? "dead" : end === "diverged" && accuracy !== undefined ? "ran.away" : end;
  return say(`end.${name}`, { step: step + 1, accuracy: accuracy === undefined ? "" : percent(accuracy) });
}

/** The columns of the films, empty. */
function drawFilms() {
  for (const plot of Object.values(plots)) plot.destroy();
  plots = {};
  const columns = Object.entries(films).map(([name, shown]) => {
    if (!shown) return null;
    const differs = facts.controls.find((c) => c.name === compare.control);
    const value = valueWords(differs, shown.settings[compare.control]);
    const title = films.B ? `${name} · ${say(`control.${compare.control}`)} ${value}` : null;
    return make("section", { class: "film", id: `film-${name}` }, title ? make("h3", {}, title) : null,
      make("p", { class: "ending" }, ending(shown)), make("div", { class: "loss" }), make("div", { class: "norms" }));
  });
  fill(find("#films"), columns);
  if (!films.A) find("#step-now").textContent = "";
}

function drawProgress(name, shown) {
  const column = find(`#film-${name}`);
  if (!column || !shown.layers.length) return;
  const here = Math.min(cursor, shown.frames.length - 1);
  const last = here === shown.frames.length - 1 && shown.end;
  find(".ending", column).textContent = last || shown.missing || shown.error ? ending(shown) : say("training");
  const frames = shown.frames.slice(0, here + 1);
  const steps = frames.map((frame) => frame.step + 1);
  const loss = frames.map((frame) => number(frame.loss));
  const norms = shown.layers.map((_, i) => frames.map((frame) => number(frame.norms[i])));
  plots[`${name} loss`] ??= new Plot(find(".loss", column), say("loss"), [say("loss")]);
  const layers = shown.layers.map((_, i) => layerName(shown.layers, i));
  plots[`${name} norms`] ??= new Plot(find(".norms", column), say("norms"), layers);
  plots[`${name} loss`].show(steps, [loss]);
  plots[`${name} norms`].show(steps, norms);
}
