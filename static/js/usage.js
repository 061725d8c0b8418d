// The usage page: which columns the table shows, and filters to come back to. Both stay in this browser.
"use strict";

(() => {
  const read = (name) => {
    try {
      const value = JSON.parse(localStorage.getItem(name));
      return Array.isArray(value) ? value : [];
    } catch {
      return [];
    }
  };
  const write = (name, value) => localStorage.setItem(name, JSON.stringify(value));

  // A column is hidden by its name in the table's data-hidden (css/usage.css).
  const table = document.querySelector(".requests");
  const columns = document.querySelector("[data-columns]");
  if (table && columns) {
    const boxes = [...columns.querySelectorAll("input")];
    const hidden = read("usage-columns");
    const apply = () => {
      table.dataset.hidden = boxes.filter((box) => !box.checked).map((box) => box.value).join(" ");
    };
    for (const box of boxes) box.checked = !hidden.includes(box.value);
    columns.addEventListener("change", () => {
      apply();
      write("usage-columns", boxes.filter((box) => !box.checked).map((box) => box.value));
    });
    apply();
    columns.hidden = false;
  }

  const menu = document.querySelector("[data-saved-filters]");
  if (!menu) return;
  const key = `usage-filters-${menu.dataset.savedFilters}`;
  const list = menu.querySelector("ul");
  const form = menu.querySelector("form");
  const query = new URLSearchParams(location.search);
  for (const name of ["before", "after", "download"]) query.delete(name);
  for (const [name, value] of [...query]) if (!value) query.delete(name);

  const show = () => {
    list.replaceChildren(
      ...read(key).map((saved) => {
        const item = document.createElement("li");
        const link = document.createElement("a");
        link.href = `${location.pathname}?${new URLSearchParams(saved.query)}`;
        link.dir = "auto";
        link.textContent = saved.name;
        const remove = document.createElement("button");
        remove.type = "button";
        remove.className = "remove";
        remove.setAttribute("aria-label", list.dataset.delete.replace("{name}", saved.name));
        remove.textContent = "×";
        remove.addEventListener("click", () => {
          write(key, read(key).filter((other) => other.name !== saved.name));
          show();
          form.elements.name.focus();
        });
        item.append(link, remove);
        return item;
      }),
    );
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.elements.name.value.trim();
    if (!name) return;
    const others = read(key).filter((saved) => saved.name !== name);
    write(key, [...others, { name, query: query.toString() }]);
    form.reset();
    show();
  });
  show();
  menu.hidden = false;
})();
