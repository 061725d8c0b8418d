// The documentation: code in colours, and the search field's list.
"use strict";

for (const code of document.querySelectorAll("pre code[class^='language-']")) hljs.highlightElement(code);

const searchField = document.querySelector("[data-docs-search]");
const quickResults = document.querySelector(".docs-quick");
const closeResults = () => quickResults?.replaceChildren();

// "/" leads to the search field, as long as nobody is typing.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && quickResults?.childElementCount) {
    closeResults();
    searchField.focus();
  }
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  event.preventDefault();
  searchField?.focus();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".docs-search")) closeResults();
});
