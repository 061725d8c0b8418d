// Text of unknown origin, shown as what it is.
/* global DOMPurify, hljs */

const LONGEST_HIGHLIGHTED = 40_000;
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

// Makes characters visible that hide text or turn its direction around.
export function visible(text) {
  return text.replace(HIDDEN, (character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return `\u27e8U+${code}\u27e9`;
  });
}

// Puts source code into an element, in colours where the language is known.
export function paint(element, source, language) {
  if (!hljs.getLanguage(language) || source.length > LONGEST_HIGHLIGHTED) {
    element.textContent = source;
    return;
  }
  const { value } = hljs.highlight(source, { language, ignoreIllegals: true });
  const cleaning = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
  element.replaceChildren(DOMPurify.sanitize(value, cleaning));
}

// Returns nodes of our own documents' texts, in which `code` stands between backquotes.
export function marked(text) {
  return text.split("`").map((piece, index) => {
    if (index % 2 === 0) return piece;
    const code = document.createElement("code");
    code.textContent = piece;
    return code;
  });
}
