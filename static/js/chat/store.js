// Where conversations are: on the server if the member chose so, else in this tab alone.
import { ask } from "../relay/http.js";

const URL = "/chat/conversations";
const PREFIX = "chat:";

export class Store {
  constructor({ owner, stores, conversations }) {
    this.stores = stores;
    this.kept = conversations.map((line) => ({ ...line, messages: null, saved: 0 }));
    this.key = PREFIX + owner;
    this.tab = this.#readTab();
  }

  // All conversations, newest first: those of the tab before those that are stored.
  get all() {
    return [...this.tab, ...this.kept];
  }

  // Returns the conversations that hold the text, in title or messages.
  async search(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return this.all;
    const holds = (each) => [each.title, ...each.messages.map((message) => message.content)].some((one) => one.toLowerCase().includes(wanted));
    const found = (await ask("GET", `${URL}?q=${encodeURIComponent(text.trim())}`)).data;
    const byId = new Map(this.kept.map((each) => [each.id, each]));
    return [...this.tab.filter(holds), ...found.map((line) => byId.get(line.id) ?? { ...line, messages: null, saved: 0 })];
  }

  // Fills in a stored conversation's messages.
  async load(conversation) {
    if (conversation.messages !== null) return;
    const whole = await ask("GET", `${URL}/${conversation.id}`);
    Object.assign(conversation, { title: whole.title, model: whole.model, settings: whole.settings, messages: whole.messages, saved: whole.messages.length });
  }

  // Keeps what was said, where the member wants it. Of a stored conversation that goes on while
  // storing is off, a copy goes on in the tab.
  async save(conversation) {
    if (!this.stores) {
      if (conversation.id) {
        this.kept = this.kept.map((each) => (each === conversation ? { ...each, messages: null, saved: 0 } : each));
        Object.assign(conversation, { id: null, saved: 0 });
      }
      this.tab = [conversation, ...this.tab.filter((each) => each !== conversation)];
      this.#writeTab();
      return;
    }
    const turns = conversation.messages.map(plain);
    if (conversation.id) {
      await ask("POST", `${URL}/${conversation.id}/messages`, { keep: conversation.saved, messages: turns.slice(conversation.saved) });
      await ask("PATCH", `${URL}/${conversation.id}`, { model: conversation.model, settings: conversation.settings });
    } else {
      const { title, model, settings } = conversation;
      const made = await ask("POST", URL, { title, model, settings, messages: turns });
      conversation.id = made.id;
      this.tab = this.tab.filter((each) => each !== conversation);
      this.#writeTab();
    }
    conversation.saved = turns.length;
    this.kept = [conversation, ...this.kept.filter((each) => each !== conversation)];
  }

  // Says that a conversation now has only its first `count` messages.
  cut(conversation, count) {
    conversation.messages.length = count;
    conversation.saved = Math.min(conversation.saved, count);
  }

  async rename(conversation, title) {
    if (conversation.id) await ask("PATCH", `${URL}/${conversation.id}`, { title });
    conversation.title = title;
    this.#writeTab();
  }

  async remove(conversation) {
    if (conversation.id) await ask("DELETE", `${URL}/${conversation.id}`);
    this.kept = this.kept.filter((each) => each !== conversation && (!each.id || each.id !== conversation.id));
    this.tab = this.tab.filter((each) => each !== conversation);
    this.#writeTab();
  }

  async removeAll() {
    await ask("DELETE", URL);
    this.kept = [];
    this.tab = [];
    this.#writeTab();
  }

  // Switches storing. What is in the tab is stored when it is switched on.
  async choose(stores) {
    await ask("POST", "/chat/storage", { stores });
    this.stores = stores;
    if (stores) for (const each of [...this.tab].reverse()) await this.save(each);
  }

  #readTab() {
    try {
      for (const key of Object.keys(sessionStorage)) {
        // What somebody else left in this tab is nobody's business.
        if (key.startsWith(PREFIX) && key !== this.key) sessionStorage.removeItem(key);
      }
      return JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
    } catch {
      return [];
    }
  }

  #writeTab() {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(this.tab));
    } catch {
      // No room: they stay in this page's memory until it is left.
    }
  }
}

const wellFormed = (text) => (text.toWellFormed ? text.toWellFormed() : text);

function plain({ role, content, reasoning, model, request_id, finish_reason }) {
  return {
    role,
    content: wellFormed(content),
    reasoning: wellFormed(reasoning ?? ""),
    model: model ?? "",
    request_id: request_id ?? null,
    finish_reason: finish_reason ?? "",
  };
}
