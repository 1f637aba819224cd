// The settings: a slider, a list or a field for each control that the engine names.

import { fill, find, make } from "scope/dom";
import { short } from "scope/numbers";
import { facts } from "scope/supply";
import { maybe, say } from "scope/words";

const STEPS = 200; // positions of a slider between the bounds of a number

export const defaults = () => Object.fromEntries(facts.controls.map((c) => [c.name, c.default]));
export const settings = defaults();

/** A value in words. */
export function valueWords(control, value) {
  if (control.kind !== "choice") return control.name === "scale" ? `${short(value)} ×` : short(value, 6);
  return maybe(`${control.name}.${value ?? "none"}`, String(value));
}

/** The map between a slider's positions and a control's values: all within bounds, or its stops. */
function scaleOf(control) {
  const { low, high, stops } = control;
  if (stops) {
    const near = (value) => stops.reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));
    return { min: 0, max: stops.length - 1, at: (v) => stops.indexOf(near(v)), value: (i) => stops[i] };
  }
  if (control.kind === "int") return { min: low, max: high, at: (v) => v, value: (p) => p };
  const ratio = Math.log(high / low);
  return {
    min: 0,
    max: STEPS,
    at: (v) => Math.round((STEPS * Math.log(v / low)) / ratio),
    value: (p) => Number((low * Math.exp((ratio * p) / STEPS)).toPrecision(3)),
  };
}

/** The element that sets one control. `changed(value)` is called with each new value. */
export function input(control, value, changed) {
  const common = { name: control.name, "aria-label": say(`control.${control.name}`) };
  if (control.kind === "choice") {
    const list = make("select", {
      ...common,
      onchange: () => changed(control.choices[list.selectedIndex]),
    });
    for (const choice of control.choices)
      list.append(make("option", { selected: choice === value }, valueWords(control, choice)));
    return list;
  }
  if (control.kind === "seed" && !control.stops)
    return make("input", {
      ...common,
      type: "number",
      min: control.low,
      max: control.high,
      value,
      onchange: (event) => {
        const typed = Math.round(Number(event.target.value) || 0);
        event.target.value = Math.min(control.high, Math.max(control.low, typed));
        changed(Number(event.target.value));
      },
    });
  const { min, max, at, value: valueAt } = scaleOf(control);
  const set = (event) => {
    const chosen = valueAt(Number(event.target.value));
    event.target.setAttribute("aria-valuetext", valueWords(control, chosen));
    changed(chosen);
  };
  const words = valueWords(control, value);
  return make("input", { ...common, type: "range", min, max, value: at(value), "aria-valuetext": words, oninput: set });
}

/** Draw the form anew; `moved()` is called after each change of the settings. */
export function drawControls(moved) {
  const form = find("#controls");
  form.onsubmit = (event) => event.preventDefault();
  const rows = facts.controls.map((control) => {
    const shown = make("output", {}, valueWords(control, settings[control.name]));
    const field = input(control, settings[control.name], (value) => {
      settings[control.name] = value;
      shown.textContent = valueWords(control, value);
      moved();
    });
    const only = control.kind === "choice" || control.kind === "seed";
    const label = make("span", { class: "label" }, say(`control.${control.name}`), only ? null : shown);
    const about = make("small", {}, maybe(`about.${control.name}`, ""));
    return make("label", { class: `control ${control.kind}` }, label, field, about);
  });
  const back = make("button", { type: "button", onclick: () => use(defaults(), moved) }, say("defaults"));
  fill(form, rows, back);
}

/** Take over other settings. */
export function use(values, moved) {
  Object.assign(settings, values);
  drawControls(moved);
  moved();
}
