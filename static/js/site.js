// What every page shares: copying, menus, dialogs, tabs, times, light or dark.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// <button class="copy" data-copy="#id"> copies that element's text; data-copy-text, its own.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-text]");
  if (!button) return;
  const text = button.dataset.copyText ?? one(button.dataset.copy).textContent;
  await navigator.clipboard.writeText(text);
  button.classList.add("is-done");
  const label = button.getAttribute("aria-label");
  button.setAttribute("aria-label", document.body.dataset.copied);
  setTimeout(() => {
    button.classList.remove("is-done");
    button.setAttribute("aria-label", label);
  }, 1600);
});

// <button data-opens="id-of-a-dialog"> opens it; <button data-closes> closes its own. A link may open
// one too: without scripts it leads to a page that asks the same.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    event.preventDefault();
    document.getElementById(opener.dataset.opens).showModal();
  }
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
});

// A menu closes when something else is clicked, and with Escape.
document.addEventListener("click", (event) => {
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of all("details.menu[open]")) {
    menu.open = false;
    one("summary", menu).focus();
  }
});

// The rail, where it is a menu.
const railButton = one("[data-rail]");
railButton?.addEventListener("click", () => {
  const open = document.body.classList.toggle("rail-open");
  railButton.setAttribute("aria-expanded", String(open));
});

// <div data-tabs> with role=tab buttons (aria-controls) over role=tabpanel panels.
const choose = (tab) => {
  for (const other of all("[role=tab]", tab.closest("[role=tablist]"))) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
};
document.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) choose(tab);
});
document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.("[role=tab]");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!tab || !step) return;
  const tabs = all("[role=tab]", tab.closest("[role=tablist]"));
  const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
  choose(next);
  next.focus();
});

// The server shows times in the reader's zone, which it learns from this cookie.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.split("; ").includes(`zone=${zone}`)) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
}

// Light, dark, or as the system is.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-choice]");
  if (!button) return;
  const choice = button.dataset.themeChoice;
  if (choice === "auto") {
    localStorage.removeItem("theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("theme", choice);
    document.documentElement.dataset.theme = choice;
  }
});

// <form data-submits-on-change> asks again when a choice changes, and <select data-submits> its form.
document.addEventListener("change", (event) => {
  const form = event.target.matches("[data-submits]") ? event.target.form : event.target.closest("form[data-submits-on-change]");
  form?.requestSubmit();
});

// One balance everywhere on the page: asked for now and then while the page is visible, and whenever a
// part of the page brings a newer one.
const balanceUrl = one("[data-balance-url]")?.dataset.balanceUrl;
const showBalance = (text) => {
  for (const place of all("[data-balance]")) if (place.textContent !== text) place.textContent = text;
};
const askBalance = async () => {
  if (document.hidden) return;
  const answer = await fetch(balanceUrl).catch(() => null);
  if (answer?.ok && !answer.redirected) showBalance((await answer.json()).balance);
};
if (balanceUrl) {
  setInterval(askBalance, 20_000);
  document.addEventListener("visibilitychange", askBalance);
  document.addEventListener("balance", (event) => showBalance(event.detail));
  document.addEventListener("htmx:load", (event) => {
    const newest = one("[data-balance]", event.target);
    if (newest) showBalance(newest.textContent);
  });
}
