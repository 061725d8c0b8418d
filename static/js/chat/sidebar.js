// The list of conversations: search, rename, delete, and where they are kept.
import { say } from "../relay/texts.js";

const byId = (id) => document.getElementById(id);
const SEARCH_PAUSE_MS = 200;

export class Sidebar {
  // `page` has open(conversation), isOpen(conversation), renamed(), gone() and say(text).
  constructor(store, page) {
    this.store = store;
    this.page = page;
    this.found = null; // the conversations that a search gave; null without one
    this.#connectSearch();
    this.#connectRename();
    this.#connectRemoval();
    this.#connectStorage();
  }

  // Shows the list as it is now.
  show() {
    const shown = (this.found ?? this.store.all).filter((each) => each.title);
    byId("list").replaceChildren(...shown.map((each) => this.#line(each)));
    byId("list-empty").hidden = shown.length > 0;
    byId("list-empty").textContent = say(this.found ? "nothing_found" : "no_conversations");
    byId("storage-state").textContent = say(this.store.stores ? "stored" : "in_tab");
  }

  // Shows what went wrong beside the list; an empty text takes it away.
  complain(text) {
    byId("list-error").textContent = text;
    byId("list-error").hidden = !text;
    if (text) this.page.say(text);
  }

  async #try(action) {
    try {
      await action();
      this.complain("");
    } catch (error) {
      this.complain(error.message);
    }
    this.show();
  }

  #line(conversation) {
    const line = byId("list-line").content.firstElementChild.cloneNode(true);
    const [opener, rename, remove] = line.querySelectorAll("button");
    line.querySelector("[data-part=title]").textContent = conversation.title;
    line.querySelector("[data-part=tab]").hidden = !(this.store.stores || this.store.kept.length) || Boolean(conversation.id);
    if (this.page.isOpen(conversation)) opener.setAttribute("aria-current", "true");
    rename.setAttribute("aria-label", say("rename", { title: conversation.title }));
    remove.setAttribute("aria-label", say("delete", { title: conversation.title }));
    opener.addEventListener("click", () => this.page.open(conversation));
    rename.addEventListener("click", () => {
      this.chosen = conversation;
      byId("rename-form").title_text.value = conversation.title;
      byId("rename").showModal();
    });
    remove.addEventListener("click", () => {
      this.chosen = conversation;
      byId("remove-name").textContent = conversation.title;
      byId("remove").showModal();
    });
    return line;
  }

  #connectSearch() {
    let waiting = null;
    byId("search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      const text = event.target.value;
      waiting = setTimeout(() => {
        this.#try(async () => {
          const found = text.trim() ? await this.store.search(text) : null;
          if (byId("search").value === text) this.found = found;
        });
      }, SEARCH_PAUSE_MS);
    });
  }

  #connectRename() {
    byId("rename-form").addEventListener("submit", (event) => {
      const title = event.target.title_text.value.trim();
      if (title) this.#try(() => this.store.rename(this.chosen, title).then(() => this.page.renamed()));
    });
  }

  #connectRemoval() {
    byId("remove-form").addEventListener("submit", () => {
      this.#try(async () => {
        await this.store.remove(this.chosen);
        this.found = this.found?.filter((each) => each !== this.chosen) ?? null;
        this.page.say(say("deleted"));
        this.page.gone();
      });
    });
    byId("remove-all-form").addEventListener("submit", () => {
      byId("storage").close();
      this.#try(async () => {
        await this.store.removeAll();
        this.found = null;
        this.page.say(say("all_deleted"));
        this.page.gone();
      });
    });
  }

  #connectStorage() {
    byId("storage-button").addEventListener("click", () => {
      byId("storage-form").stores.value = this.store.stores ? "yes" : "no";
      byId("storage").showModal();
    });
    byId("storage-form").addEventListener("submit", (event) => {
      const stores = event.target.stores.value === "yes";
      if (stores !== this.store.stores) this.#try(() => this.store.choose(stores));
    });
  }
}
