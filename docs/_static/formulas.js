// Renders every formula of the page. One that KaTeX cannot read raises, and is seen in the console.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".math")) {
    katex.render(place.textContent, place, { displayMode: place.tagName === "DIV", strict: "error" });
  }
});
