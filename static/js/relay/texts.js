// The texts that scripts show, in the reader's language: the server puts them into the page.
const texts = JSON.parse(document.getElementById("page-texts").textContent);

export const language = document.documentElement.lang;

// Returns the text of that name, with values put in for what stands in braces.
export function say(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}
