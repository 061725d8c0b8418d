// The chat page: which conversation is open, what is said, and who answers.
import { learnCharge } from "../relay/http.js";
import { say } from "../relay/texts.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { Answer, personTurn } from "./turn.js";
import { answer, bodyOf, Refused } from "./request.js";

const data = JSON.parse(document.getElementById("chat-data").textContent);
const byId = (id) => document.getElementById(id);
const page = byId("chat");
const thread = byId("thread");
const scroller = byId("scroller");
const form = byId("composer");
const box = byId("message");
const picker = byId("model");
const announcer = byId("announcer");
const MODEL_KEY = "chat-model";
const NEAR_PX = 80;

const store = new Store(data);
const models = new Map(data.models.map((model) => [model.name, model]));
const noSettings = () => ({ system: "", temperature: null, max_tokens: null, thinking: null });
let open = fresh();
let running = null; // the AbortController of the answer that is coming

const sidebar = new Sidebar(store, {
  open: show,
  isOpen: (conversation) => conversation === open,
  gone: () => running === null && !store.all.includes(open) && show(fresh()),
  renamed: refresh,
  say: announce,
});

function fresh() {
  const chosen = localStorage.getItem(MODEL_KEY);
  const model = models.has(chosen) ? chosen : (data.models[0]?.name ?? "");
  return { id: null, title: "", model, settings: noSettings(), messages: [], saved: 0 };
}

function announce(text) {
  announcer.textContent = text;
}

const titleOf = (name) => models.get(name)?.title ?? name;

// Shows a conversation, whose messages may have to be fetched first.
async function show(conversation) {
  stop();
  try {
    await store.load(conversation);
  } catch (error) {
    announce(error.message);
    sidebar.complain(error.message);
    return;
  }
  open = conversation;
  conversation.settings = { ...noSettings(), ...conversation.settings };
  thread.replaceChildren();
  conversation.messages.forEach((message, index) => {
    if (message.role === "user") thread.append(personTurn(message));
    else placed(message, index).finish(message);
  });
  picker.value = models.has(conversation.model) ? conversation.model : (data.models[0]?.name ?? "");
  conversation.model = picker.value;
  showModel();
  refresh();
  history.replaceState(null, "", conversation.id ? `/chat/${conversation.id}` : "/chat");
  scroller.scrollTop = scroller.scrollHeight;
  page.classList.remove("list-open");
  byId("list-button").setAttribute("aria-expanded", "false");
  box.focus({ preventScroll: true });
}

// Brings what depends on the open conversation up to date.
function refresh() {
  const isEmpty = open.messages.length === 0 && running === null;
  byId("welcome").hidden = !isEmpty;
  byId("heading").textContent = open.title || say("new_conversation");
  const { system, temperature, max_tokens: most, thinking } = open.settings;
  const changed = [system, temperature !== null, most !== null, thinking].filter(Boolean).length;
  byId("settings-count").textContent = changed ? `(${changed})` : "";
  const mayGoOn = running === null && open.messages.at(-1)?.role === "assistant";
  for (const button of thread.querySelectorAll("[data-part=regenerate]")) button.hidden = true;
  if (mayGoOn) {
    const last = thread.lastElementChild?.querySelector("[data-part=regenerate]");
    if (last) last.hidden = false;
  }
  sidebar.show();
}

function showModel() {
  const model = models.get(picker.value);
  byId("price").textContent = model ? say("price", { input: model.input_price, output: model.output_price, context: model.context }) : "";
  byId("reasoning-field").hidden = !model?.reasons;
  byId("max-tokens").max = model?.max_output_tokens ?? "";
}

// Puts an answer's element into the thread.
function placed(message, index) {
  const shown = new Answer(titleOf(message.model), data.request_url);
  thread.append(shown.element);
  shown.element.querySelector("[data-part=regenerate]").addEventListener("click", () => regenerate(index));
  return shown;
}

const isNear = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;

// Asks for the answer to what was said last.
async function respond() {
  const conversation = open;
  const message = { role: "assistant", content: "", reasoning: "", model: conversation.model, request_id: null, finish_reason: "", cost: "" };
  const body = bodyOf(conversation);
  if (!models.get(conversation.model)?.reasons) delete body.thinking;
  const shown = placed(message, conversation.messages.length);
  const controller = (running = new AbortController());
  form.classList.add("is-running");
  byId("send").hidden = true;
  byId("stop").hidden = false;
  refresh();
  announce(say("answering", { model: titleOf(message.model) }));
  scroller.scrollTop = scroller.scrollHeight;
  let wasNear = true;
  shown.onGrown = () => wasNear && (scroller.scrollTop = scroller.scrollHeight);
  let advice = null;
  try {
    await answer(body, message, controller.signal, () => {
      wasNear = isNear();
      shown.grow(message);
    });
    announce(say("complete"));
  } catch (error) {
    if (error.name === "AbortError") {
      message.finish_reason = "stopped";
      announce(say("stopped"));
    } else {
      message.finish_reason = "error";
      advice = error instanceof Refused ? error.advice : { text: say("unreadable") };
      announce(advice.text);
    }
  }
  if (running === controller) running = null;
  form.classList.remove("is-running");
  byId("stop").hidden = true;
  byId("send").hidden = false;
  await settle(conversation, message, shown, advice);
}

// Shows how an answer ended, keeps it, and asks what it cost.
async function settle(conversation, message, shown, advice) {
  const isWorthKeeping = Boolean(message.content || message.reasoning);
  shown.finish(message);
  if (isWorthKeeping) conversation.messages.push(message);
  else if (!advice) advice = { text: say("stopped_early") };
  if (advice) {
    const again = shown.fail(advice, data.may_pay ? page.dataset.moneyUrl : "");
    again.addEventListener("click", () => {
      shown.element.remove();
      if (isWorthKeeping) store.cut(conversation, conversation.messages.length - 1);
      if (conversation === open && running === null) respond();
    });
  }
  refresh();
  if (isWorthKeeping) {
    try {
      await store.save(conversation);
    } catch (error) {
      sidebar.complain(say("not_stored", { reason: error.message }));
    }
    if (conversation === open) {
      history.replaceState(null, "", conversation.id ? `/chat/${conversation.id}` : "/chat");
      refresh();
    }
  }
  if (!message.request_id) return;
  message.cost = (await learnCharge(message.request_id)) ?? message.cost;
  shown.showCost(message);
}

function send(text) {
  if (running || !text.trim() || !picker.value) return;
  const message = { role: "user", content: text.trim(), reasoning: "", model: "", request_id: null, finish_reason: "" };
  if (!open.title) open.title = [...message.content.replace(/\s+/g, " ")].slice(0, 60).join("");
  open.messages.push(message);
  for (const failed of thread.querySelectorAll(".turn:has([data-part=again])")) failed.querySelector("[data-part=again]").hidden = true;
  thread.append(personTurn(message));
  box.value = "";
  respond();
}

function regenerate(index) {
  if (running) return;
  store.cut(open, index);
  thread.lastElementChild.remove();
  respond();
}

function stop() {
  running?.abort();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send(box.value);
});
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send(box.value);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (running) {
    stop();
    box.focus();
  }
});
byId("stop").addEventListener("click", () => {
  stop();
  box.focus();
});
byId("new").addEventListener("click", () => show(fresh()));
byId("list-button").addEventListener("click", () => {
  const isOpen = page.classList.toggle("list-open");
  byId("list-button").setAttribute("aria-expanded", String(isOpen));
});
picker.addEventListener("change", () => {
  open.model = picker.value;
  localStorage.setItem(MODEL_KEY, picker.value);
  showModel();
});
for (const example of document.querySelectorAll("[data-prompt]")) {
  example.addEventListener("click", () => {
    box.value = example.dataset.prompt;
    box.focus();
  });
}

const settingsForm = byId("settings-form");
const numberOr = (text) => (text.trim() === "" ? null : Number(text));
byId("settings-button").addEventListener("click", () => {
  const { system, temperature, max_tokens: most, thinking } = open.settings;
  settingsForm.system.value = system;
  settingsForm.temperature.value = temperature ?? "";
  settingsForm.max_tokens.value = most ?? "";
  settingsForm.thinking.value = thinking ?? "";
  byId("settings").showModal();
});
settingsForm.addEventListener("submit", () => {
  open.settings = {
    system: settingsForm.system.value,
    temperature: numberOr(settingsForm.temperature.value),
    max_tokens: numberOr(settingsForm.max_tokens.value),
    thinking: settingsForm.thinking.value || null,
  };
  refresh();
});

const first = store.all.find((each) => each.id === data.opened);
show(first ?? fresh());
