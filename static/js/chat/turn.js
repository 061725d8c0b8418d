// One message on the page: the person's, or a model's while and after it is written.
import { visible } from "../relay/text.js";
import { say } from "../relay/texts.js";
import { render } from "./markdown.js";

const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const part = (element, name) => element.querySelector(`[data-part=${name}]`);
const SLOWEST_MS = 400;

function copyButton(source) {
  const button = clone("copy-button");
  button.dataset.copyText = source;
  return button;
}

// Returns the element of what the person said.
export function personTurn(message) {
  const element = clone("person-turn");
  part(element, "text").textContent = visible(message.content);
  return element;
}

// A model's answer on the page.
export class Answer {
  constructor(title, requestUrl) {
    this.element = clone("answer-turn");
    this.requestUrl = requestUrl;
    this.waiting = null;
    part(this.element, "who").textContent = title;
    this.foot = part(this.element, "foot");
  }

  // Shows the message as it is so far, at most every now and then: Markdown is read anew each time.
  grow(message) {
    if (this.waiting !== null) return;
    const pause = Math.min(SLOWEST_MS, 40 + message.content.length / 100);
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.#show(message, null);
      this.onGrown?.();
    }, pause);
  }

  // Shows the message as it stays, with its buttons and its cost.
  finish(message) {
    clearTimeout(this.waiting);
    this.waiting = null;
    this.#show(message, copyButton);
    this.element.removeAttribute("aria-busy");
    this.foot.hidden = !message.content && !message.reasoning;
    this.onGrown?.();
    part(this.element, "copy").dataset.copyText = message.content;
    part(this.element, "ending").textContent = ["stopped", "length", "error"].includes(message.finish_reason) ? say(`ended_${message.finish_reason}`) : "";
    this.showCost(message);
  }

  showCost({ cost, request_id: id }) {
    const link = part(this.element, "cost");
    link.hidden = !id;
    if (!id) return;
    link.href = `${this.requestUrl}${id}`;
    part(link, "amount").textContent = cost || say("charge");
  }

  // Shows why there is no answer, or no more of it.
  fail({ text, link }, moneyUrl) {
    clearTimeout(this.waiting);
    const alert = clone("turn-error");
    part(alert, "text").textContent = visible(text);
    const anchor = part(alert, "link");
    anchor.hidden = link !== "money" || !moneyUrl;
    if (moneyUrl) anchor.href = moneyUrl;
    part(this.element, "body").append(alert);
    this.element.removeAttribute("aria-busy");
    return part(alert, "again");
  }

  #show(message, button) {
    const thoughts = part(this.element, "reasoning");
    thoughts.hidden = !message.reasoning;
    if (message.reasoning) {
      part(thoughts, "thoughts").textContent = visible(message.reasoning);
      part(thoughts, "title").textContent = message.content || button ? say("reasoning") : say("reasoning_on");
    }
    part(this.element, "text").replaceChildren(render(message.content, button));
    part(this.element, "dots").hidden = Boolean(message.content || message.reasoning || button);
  }
}
