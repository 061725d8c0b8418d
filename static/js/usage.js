// The usage page: a column is hidden by its name in the table's data-hidden (css/usage.css). The server
// keeps the choice (hx-post).
"use strict";

document.querySelector("[data-columns]")?.addEventListener("change", (event) => {
  const boxes = [...event.currentTarget.querySelectorAll("input[type=checkbox]")];
  const hidden = boxes.filter((box) => !box.checked).map((box) => box.value);
  document.querySelector(".requests").dataset.hidden = hidden.join(" ");
});
