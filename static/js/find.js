// The search dialog: opened by Ctrl-K or Cmd-K and by its button, walked with the arrow keys.
"use strict";

(() => {
  const dialog = document.getElementById("find-dialog");
  const query = document.getElementById("find-query");
  if (!dialog) return;

  const open = () => {
    if (dialog.open) return;
    dialog.showModal();
    query.select();
    htmx.trigger(query, "find");
  };
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      open();
    }
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-find]")) open();
    if (event.target === dialog) dialog.close();
  });

  dialog.addEventListener("keydown", (event) => {
    const links = [...dialog.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Enter" && document.activeElement === query && links.length) {
      event.preventDefault();
      location.assign(links[0].href);
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = at + step;
    if (next < 0) query.focus();
    else links[Math.min(next, links.length - 1)]?.focus();
  });
})();
