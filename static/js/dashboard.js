// Asks for news every few seconds, but not while nobody looks. What the reader has opened, and
// where the focus is, stays as it is when the page's content is exchanged.
"use strict";

(() => {
  const SECONDS = 4;
  let opened = [];

  const refresh = () => {
    if (!document.hidden) htmx.trigger("#live", "refresh");
  };
  setInterval(refresh, SECONDS * 1000);
  document.addEventListener("visibilitychange", refresh);

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.id === "live") {
      opened = [...event.target.querySelectorAll("details[open][id]")].map((details) => details.id);
    }
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  });
})();
