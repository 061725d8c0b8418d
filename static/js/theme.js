// A person's choice of light or dark, applied before the first paint.
const theme = localStorage.getItem("theme");
const isGiven = "theme" in document.documentElement.dataset; // by a preview of the brand
if (!isGiven && (theme === "light" || theme === "dark")) document.documentElement.dataset.theme = theme;
