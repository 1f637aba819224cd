// The words of the page, in two languages, from the tables en.json and zh.json.

import { make } from "scope/dom";

const tables = JSON.parse(document.getElementById("words").textContent);
const listeners = [];
// The address may name the language: a chapter of the book shows the page in its own language.
const asked = new URLSearchParams(location.search).get("language");
let language = asked in tables ? asked : stored("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** The choice that was stored before, or null where there is none or the browser forbids it. */
export function stored(name) {
  try {
    return localStorage.getItem(`scope-${name}`);
  } catch {
    return null;
  }
}

/** Remember a choice, if the browser lets us. */
export function store(name, value) {
  try {
    localStorage.setItem(`scope-${name}`, value);
  } catch {
    // a page from a file or in a frame may have no memory: the choice then ends with the page
  }
}

/** The sentence of that name; {name} in it becomes a value. */
export function say(name, values = {}) {
  const text = tables[language][name] ?? tables.en[name];
  if (text === undefined) throw new Error(`the tables have no words for ${name}`);
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/** The words of a name, or `otherwise` where the tables have none. */
export const maybe = (name, otherwise) => tables[language][name] ?? otherwise;

export const languageNow = () => language;

/** Switch to the other language. */
export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  store("language", language);
  sayAll();
  for (const listener of listeners) listener();
}

/** Call this after each change of the language. */
export const onLanguage = (listener) => listeners.push(listener);

/** Fill in all fixed words of the page. */
export function sayAll() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-say]"))
    element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-label]"))
    element.setAttribute("aria-label", say(element.dataset.label));
  document.title = say("title");
}

/** A paragraph in which *this* is emphasised. */
export function prose(text, attributes = {}) {
  const parts = text.split(/\*([^*]+)\*/);
  return make("p", attributes, parts.map((part, i) => (i % 2 ? make("strong", {}, part) : part)));
}
