// Six scenes, one lesson each: two sentences, and a question whose answer is computed, not stored.

import { defaults } from "scope/controls";
import { fill, find, make } from "scope/dom";
import { alone, compareWith, ending, run } from "scope/fate";
import { growth } from "scope/network";
import { number, short } from "scope/numbers";
import { facts } from "scope/supply";
import { maybe, prose, say } from "scope/words";

let current = null;
const solved = new Set();

const ENDS = ["learned", "neither", "diverged"];

/** A question about how a training ends. `choose` takes one of the two films that are shown. */
const outcome = (choose) => ({
  answers: ENDS.map((end) => say(`fast.${end}`)),
  film: (...films) => ENDS.indexOf(choose(...films).end.end),
});

/** The answers of a question, and which of them holds for the network that is shown. */
const QUESTIONS = {
  healthy: (layers) => {
    const ratio = growth(layers, "signal") ** (layers.length - 2);
    const answers = ["more", "same", "less"].map((n) => say(`healthy.${n}`));
    return { answers, right: ratio > 20 ? 0 : ratio < 0.05 ? 2 : 1 };
  },
  explodes: (layers) => {
    const factor = growth(layers, "signal");
    const one = short(factor);
    const answers = [`${one} + ${one} = ${short(2 * factor)}`, one, `${one} × ${one} = ${short(factor * factor)}`];
    return { answers, right: 2 };
  },
  vanishes: (layers) => {
    const sizes = layers.map((layer) => number(layer.gradient));
    const third = (sizes.indexOf(Math.min(...sizes)) / (sizes.length - 1)) * 3;
    const answers = ["last", "middle", "first"].map((n) => say(`vanishes.${n}`));
    return { answers, right: third < 1 ? 2 : third < 2 ? 1 : 0 };
  },
  fast: () => outcome((film) => film),
  dead: () => ({ answers: ["never", "soon", "late"].map((n) => say(`dead.${n}`)), film: (f) => {
    const step = f.frames.findIndex((frame) => number(frame.norms[0]) === 0);
    return step < 0 ? 0 : step < 20 ? 1 : 2;
  } }),
  cured: () => outcome((film, other) => other),
};

/** Draw the list of scenes, and the one that is open. */
export function drawLessons(host) {
  if (!facts.scenes.length) {
    find("#lessons").hidden = true;
    return;
  }
  const rows = facts.scenes.map((scene) => make("li", {}, make("button", {
    type: "button",
    "data-scene": scene.name,
    "aria-current": scene.name === current ? "step" : "false",
    onclick: () => openScene(scene, host),
  }, say(`scene.${scene.name}`), solved.has(scene.name) ? " ✓" : "")));
  fill(find("#scenes"), rows);
  if (current === null) fill(find("#lesson"), prose(say("start")));
  else drawLesson(facts.scenes.find((scene) => scene.name === current), host);
}

/** Open the scene that the address names (#explodes); whether there is such a scene. */
export function openNamed(host) {
  const named = facts.scenes.find((scene) => `#${scene.name}` === location.hash);
  if (named) openScene(named, host);
  return Boolean(named);
}

/** Open a scene: its settings, its place on the page, its words. */
function openScene(scene, host) {
  current = scene.name;
  if (scene.compare) compareWith(...scene.compare);
  else alone();
  drawLessons(host);
  host.page.network = null;
  host.use({ ...defaults(), ...scene.settings });
  host.openTab(scene.place);
}

function drawLesson(scene, host) {
  const { name } = scene;
  const said = make("p", { id: "said", role: "status" });
  const buttons = make("div", { class: "answers" });
  const asked = say(`ask.${name}`);
  const question = make("fieldset", {}, make("legend", {}, asked), buttons, said);
  fill(find("#lesson"), prose(say(`lesson.${name}`)), question);
  for (let i = 0; i < 3; i++)
    buttons.append(make("button", { type: "button", "data-answer": i, onclick: () => answer(i, scene, host) }));
  labelAnswers(host.page);
}

/** Write the answers on their buttons: their numbers belong to the network that is shown. */
export function labelAnswers(page) {
  if (current === null || !page.network) return;
  const { answers } = QUESTIONS[current](page.network.layers);
  for (const button of find("#lesson").querySelectorAll("[data-answer]"))
    button.textContent = answers[button.dataset.answer];
}

/** Check an answer against the measured numbers; where it is about a training, run that first. */
async function answer(chosen, scene, host) {
  const said = find("#said");
  const { name } = scene;
  const question = QUESTIONS[name](host.page.network.layers);
  let { right } = question;
  let seen = "";
  if (question.film) {
    said.textContent = say("wait");
    if (host.page.tab !== "fate") await host.openTab("fate");
    const films = await run();
    const open = films.find((film) => !film.end);
    if (open) {
      said.textContent = ending(open);
      return;
    }
    right = question.film(...films);
    seen = ending(films.at(-1));
  }
  const good = chosen === right;
  if (good) solved.add(name);
  said.className = good ? "good" : "wrong";
  said.dataset.right = String(good);
  said.textContent = [good ? say("right") : say("wrong", { answer: question.answers[right] }),
    maybe(`because.${name}`, ""), seen].filter(Boolean).join(" ");
  for (const button of find("#lesson").querySelectorAll("[data-answer]"))
    button.classList.toggle("chosen", Number(button.dataset.answer) === chosen);
  const mark = find(`[data-scene="${name}"]`);
  mark.textContent = say(`scene.${name}`) + (solved.has(name) ? " ✓" : "");
}
