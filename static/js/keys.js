// The list of models in a key's form can be searched, and says what it comes to.
"use strict";

(() => {
  const list = document.getElementById("model-list");
  if (!list) return;
  const rows = [...list.querySelectorAll("[data-model]")];
  const search = document.querySelector("[data-model-search]");
  const count = document.querySelector("[data-model-count]");
  search.hidden = rows.length < 8;

  const tell = () => {
    const chosen = list.querySelectorAll("input:checked").length;
    const { some, none } = count.dataset;
    count.textContent = chosen ? some.replace("{chosen}", chosen).replace("{total}", rows.length) : none;
  };
  search.addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.dataset.model.toLowerCase().includes(wanted);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault(); // it searches already, and must not send the form
  });
  list.addEventListener("change", tell);
  tell();
})();
