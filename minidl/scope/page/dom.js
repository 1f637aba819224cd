// Elements, made and found in few words.

export const find = (selector, within = document) => within.querySelector(selector);

/** An element. `on...` attributes are listeners, `false` and `null` leave an attribute out. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "path", "circle", "rect", "text", "title"].includes(tag);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** A table: what it is about, the heads of its columns, and its rows. */
export function table(about, heads, rows) {
  const head = heads.map((name) => make("th", { scope: "col" }, name));
  const parts = [make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows)];
  return [make("p", { class: "note" }, about), make("div", { class: "scroll" }, make("table", {}, parts))];
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** A colour or a length from the style sheet, for what is drawn on a canvas. */
export const style = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Red, green and blue of a colour such as #1f5fae. */
export const parts = (hex) => hex.match(/\w\w/g).map((two) => parseInt(two, 16));
