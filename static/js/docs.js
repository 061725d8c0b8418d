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

// "Copy as Markdown" is a link to the text, which is copied instead.
const copyPage = document.querySelector("[data-copy-page]");
copyPage?.addEventListener("click", async (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || !navigator.clipboard) return;
  event.preventDefault();
  try {
    const answer = await fetch(copyPage.href);
    if (!answer.ok) throw new Error(answer.statusText);
    await navigator.clipboard.writeText(await answer.text());
  } catch {
    location.assign(copyPage.href); // as without a clipboard
    return;
  }
  copyPage.classList.add("is-done");
  setTimeout(() => copyPage.classList.remove("is-done"), 1600);
});

// An agent's page waits for the first request of its key, for a quarter of an hour.
const firstCall = document.querySelector("[data-first-call]");
const FIRST_CALL_MS = 2000;
const FIRST_CALL_TRIES = 450;

const showFirstCall = (call) => {
  firstCall.querySelector("[data-model]").textContent = call.model;
  firstCall.querySelector("[data-cost]").textContent = call.cost;
  firstCall.querySelector("[data-request]").href = call.url;
  firstCall.querySelector("[data-waiting]").hidden = true;
  firstCall.querySelector("[data-arrived]").hidden = false;
};
const waitForFirstCall = async (tries) => {
  const answer = await fetch(firstCall.dataset.firstCall).catch(() => null);
  const call = answer?.ok ? await answer.json() : null;
  if (call?.status === "arrived") showFirstCall(call);
  else if (tries > 1 && !answer?.redirected) setTimeout(waitForFirstCall, FIRST_CALL_MS, tries - 1);
};
if (firstCall?.querySelector("[data-waiting]:not([hidden])")) waitForFirstCall(FIRST_CALL_TRIES);
