// Markdown from a model, which may be hostile, as nodes that can do no harm.
//
// markdown-it knows no HTML here; DOMPurify cleans what it made once more. Images are links, so that
// nothing is loaded by being shown. Links lead to the web or a mailbox and say where.
/* global markdownit, DOMPurify */
import { paint, visible } from "../relay/text.js";
import { say } from "../relay/texts.js";

const markdown = markdownit({ html: false, linkify: false, breaks: true });

markdown.validateLink = (url) => /^(https?:\/\/|mailto:)/i.test(url.trim());

const openLink = (tokens, index, options, env, self) => {
  const token = tokens[index];
  token.attrSet("target", "_blank");
  token.attrSet("rel", "noopener noreferrer nofollow");
  token.attrSet("title", token.attrGet("href"));
  return self.renderToken(tokens, index, options);
};
markdown.renderer.rules.link_open = openLink;

markdown.renderer.rules.image = (tokens, index) => {
  const escape = markdown.utils.escapeHtml;
  const url = tokens[index].attrGet("src");
  const text = say("image", { text: tokens[index].content || url });
  return `<a href="${escape(url)}" title="${escape(url)}" target="_blank" rel="noopener noreferrer nofollow">${escape(text)}</a>`;
};

// A model's headings stand below the page's own.
const lower = (tokens, index, options, env, self) => {
  const token = tokens[index];
  token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 2)}`;
  return self.renderToken(tokens, index, options);
};
markdown.renderer.rules.heading_open = lower;
markdown.renderer.rules.heading_close = lower;

// Columns are aligned by a class: the page's policy forbids inline styles.
const align = (tokens, index, options, env, self) => {
  const token = tokens[index];
  const style = token.attrGet("style") ?? "";
  token.attrs = style.includes("right") ? [["class", "number"]] : null;
  return self.renderToken(tokens, index, options);
};
markdown.renderer.rules.th_open = align;
markdown.renderer.rules.td_open = align;

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "strong",
  "table", "tbody", "td", "th", "thead", "tr", "ul",
];
const CLEANING = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "target", "rel", "class", "start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

// Returns the text's nodes. `copyButton` makes a button for a block of code; none while it grows.
export function render(text, copyButton) {
  const fragment = DOMPurify.sanitize(markdown.render(visible(text)), CLEANING);
  for (const pre of [...fragment.querySelectorAll("pre")]) frame(pre, copyButton);
  for (const table of [...fragment.querySelectorAll("table")]) {
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    table.replaceWith(scroll);
    scroll.append(table);
  }
  for (const block of fragment.children) block.dir = "auto";
  return fragment;
}

function frame(pre, copyButton) {
  const code = pre.querySelector("code") ?? pre;
  const source = code.textContent;
  const language = /\blanguage-([\w+#-]+)/.exec(code.className)?.[1] ?? "";
  code.className = "";
  code.dir = "ltr";
  if (copyButton) paint(code, source, language);
  const box = document.createElement("div");
  box.className = "code";
  pre.tabIndex = 0;
  pre.replaceWith(box);
  box.append(pre);
  if (language) {
    const name = document.createElement("span");
    name.className = "code-language";
    name.textContent = language;
    box.append(name);
  }
  if (copyButton) box.append(copyButton(source));
}
