"use strict";
const search = document.getElementById("search");
const found = document.getElementById("found");
const cards = Array.from(document.querySelectorAll("article"), (card) => ({ card, text: card.textContent.toLowerCase(), name: card.id }));
const sections = Array.from(document.querySelectorAll("section"));
function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const { card, text, name } of cards) {
    const fits = words.every((word) => text.includes(word) || name.includes(word));
    card.classList.toggle("hidden", !fits);
    n += fits ? 1 : 0;
  }
  for (const section of sections) {
    const empty = words.length > 0 && !section.querySelector("article:not(.hidden)");
    section.classList.toggle("hidden", empty);
  }
  found.textContent = words.length ? n + " found" : "";
}
search.addEventListener("input", show);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  if (event.key === "Escape") { search.value = ""; show(); }
});
// A link to a card that the search hides shows everything again.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (link && search.value) { search.value = ""; show(); }
});
