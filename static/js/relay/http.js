// Calls of our own pages' endpoints and of the API, and what to tell a person when they fail.

import { language, say } from "./texts.js";

export class AskError extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

const CHARGE_TRIES = 6;
const CHARGE_PAUSE_MS = 400;

// Asks one of the pages' JSON endpoints; returns what it answers (null for nothing).
export async function ask(method, url, body) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const { team } = document.querySelector("[data-team]").dataset;
  const headers = { "x-csrftoken": token, "x-team": team, accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new AskError(say("unreachable"), 0);
  }
  if (response.redirected) throw new AskError(say("signed_out"), 401);
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw new AskError(answer?.error ?? say("page_failed", { status: response.status }), response.status);
}

// The short-lived key that this page calls the API with. It is in this variable and nowhere else.
let held = null;
const SPARE_MS = 60_000;

export async function sessionKey() {
  if (held === null || held.until < Date.now()) {
    const made = await ask("POST", "/chat/key");
    held = { key: made.key, until: Date.now() + made.expires_in_seconds * 1000 - SPARE_MS };
  }
  return held.key;
}

// Calls the API as any client does and returns the response. A key that was revoked, as by another
// tab, is replaced once; a public endpoint gets none.
export async function callApi(url, options, { isPublic = false } = {}) {
  const send = async () => {
    const headers = { ...options.headers };
    if (!isPublic) headers.authorization = `Bearer ${await sessionKey()}`;
    try {
      return await fetch(url, { ...options, headers, credentials: "omit", redirect: "error", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new AskError(say("unreachable"), 0);
    }
  };
  const response = await send();
  if (response.status !== 401 || isPublic) return response;
  held = null;
  return send();
}

// Yields the data of a stream's events. `onText` gets the stream as it arrives.
export async function* eventsOf(response, onText = () => {}) {
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const text = decoder.decode(value, { stream: !done });
    if (text) onText(text);
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) yield line.slice(5).trimStart();
    }
    if (done) return;
  }
}

// The request's id as pages name it: a UUID with dashes, null if there is none.
export function requestIdOf(response) {
  const digits = (response.headers.get("x-request-id") ?? "").replaceAll("-", "");
  return /^[0-9a-f]{32}$/.test(digits) ? digits.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5") : null;
}

// What a refused request means for a person: a text, and where to go if that helps.
export function explain(status, error, retryAfter) {
  const said = error?.message ?? say("service_answered", { status });
  const wait = retryAfter ? ` ${say("wait_seconds", { seconds: retryAfter })}` : ` ${say("wait")}`;
  if (status === 402) return { text: said, link: "money" };
  if (status === 429) return { text: `${said}${said.includes("again") ? "" : wait}`, retryAfter: Number(retryAfter) || 0 };
  if (status === 401) return { text: say("signed_out") };
  if (status === 503 && retryAfter) return { text: `${said}${said.includes("again") ? "" : wait}` };
  return { text: said };
}

// Asks what a request cost until its settlement is in the books, and brings the balance beside the
// page up to date. Returns the cost as a text, null if it isn't settled by then.
export async function learnCharge(requestId) {
  for (let tries = 0; tries < CHARGE_TRIES; tries += 1) {
    const told = await ask("GET", `/chat/charges/${requestId}`).catch(() => null);
    if (told) document.dispatchEvent(new CustomEvent("balance", { detail: told.available }));
    if (told?.cost) return told.cost;
    await new Promise((done) => setTimeout(done, CHARGE_PAUSE_MS));
  }
  return null;
}

// A price as people read it: whole cents at least, and all that is finer.
export function dollars(amount) {
  return amount.toLocaleString(language, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", minimumFractionDigits: 2, maximumFractionDigits: 9 });
}
