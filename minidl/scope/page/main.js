// The page: its tabs, its requests to the engine, and its keys.

import { drawControls, settings, use } from "scope/controls";
import { fill, find, make, style } from "scope/dom";
import { drawFate, drawVerdict, stopFilms } from "scope/fate";
import { drawLessons, labelAnswers, openNamed } from "scope/lesson";
import { drawNetwork } from "scope/network";
import { drawOperations, stepBy } from "scope/operations";
import { drawPixels } from "scope/pixels";
import { facts, live, step } from "scope/supply";
import { onLanguage, say, sayAll, store, stored, switchLanguage } from "scope/words";

const TABS = {
  network: (page) => drawNetwork(page.network),
  operations: (page) => drawOperations(page, show),
  pixels: (page) => drawPixels(page, show),
  fate: (page) => drawFate(page, show),
};
const NEEDS = { operations: ["network", "operations"], pixels: ["network", "operations"] };
const DARK = matchMedia("(prefers-color-scheme: dark)");
const THEMES = ["auto", "light", "dark"];

/** The state of the page: the open tab, the index of the image, and the engine's last answer. */
export const page = { tab: "network", image: 0, network: null, operations: null, labels: [], moves: 0 };
let theme = stored("theme") ?? "auto";
let asking = false;
let again = false;

/** Ask the engine about the settings as they are now, and draw the answer. */
export async function show() {
  if (asking) {
    again = true; // one request at a time; of the moves in the meantime the last one counts
    return;
  }
  asking = true;
  const start = performance.now();
  try {
    const found = await step({ ...settings }, NEEDS[page.tab] ?? ["network"], page.image);
    Object.assign(page, { network: null, operations: null }, found);
    draw();
    status(live ? say("took", { ms: Math.round(performance.now() - start) }) : say("recorded"));
  } catch (error) {
    status(say("failed", { reason: error.message }), true);
  }
  asking = false;
  page.moves += 1;
  document.body.dataset.moves = page.moves; // tests wait for this number until the page is drawn
  if (again) {
    again = false;
    await show();
  }
}

function status(text, bad = false) {
  find("#status").textContent = text;
  find("#status").classList.toggle("bad", bad);
}

/** Draw everything that depends on the engine's answer. */
function draw() {
  drawVerdict(page);
  labelAnswers(page);
  const part = (NEEDS[page.tab] ?? ["network"]).at(-1);
  if (!page[part] || !page.network) fill(find(`#${page.tab}`), make("p", { class: "note" }, say("not.recorded")));
  else TABS[page.tab](page);
}

/** The settings have moved. */
function moved() {
  stopFilms();
  show();
}

/** Show another tab. */
export async function openTab(name) {
  page.tab = name;
  drawTabs();
  await show();
}

function drawTabs() {
  const names = Object.keys(TABS);
  const buttons = names.map((name) => make("button", {
    type: "button",
    role: "tab",
    id: `tab-${name}`,
    "aria-controls": name,
    "aria-selected": String(name === page.tab),
    tabindex: name === page.tab ? 0 : -1,
    onclick: () => openTab(name),
    onkeydown: (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const next = names[(names.indexOf(name) + by + names.length) % names.length];
      openTab(next);
      find(`#tab-${next}`).focus();
    },
  }, say(`tab.${name}`)));
  fill(find("#tabs"), buttons);
  for (const name of names) find(`#${name}`).hidden = name !== page.tab;
}

function drawTools() {
  const dark = theme === "dark" || (theme === "auto" && DARK.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  find("#theme").textContent = say(`theme.${theme}`);
  find("#language").textContent = say("language");
  find("#subject").textContent = facts.kind === "lab" ? say("tagline") : say("given", { title: facts.title });
}

/** Draw in the colours of the theme: canvases do not follow it by themselves. */
function redraw() {
  drawTools();
  if (page.network) draw();
}

const host = { page, use: (values) => use(values, moved), openTab };

function drawAll() {
  sayAll();
  drawTools();
  drawControls(moved);
  drawLessons(host);
  drawTabs();
  if (page.network) draw();
}

find("#theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  store("theme", theme);
  redraw();
});
find("#language").addEventListener("click", switchLanguage);
onLanguage(drawAll);
DARK.addEventListener("change", redraw);
addEventListener("resize", () => page.tab === "network" && page.network && draw());
document.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
  const typing = event.target.closest("input, select, textarea, [role=tab], summary");
  if (by === undefined || typing || page.tab !== "operations" || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  stepBy(by);
});
if (matchMedia("(max-width: 760px)").matches) find("aside details").open = false;
drawAll();
if (!openNamed(host)) show();
document.body.dataset.ready = style("--zero") ? "yes" : "no";
