// Calls of our own pages' endpoints and of the API, and what to tell a person when they fail.

export class AskError extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

const CHARGE_TRIES = 6;
const CHARGE_PAUSE_MS = 400;
const SIGNED_OUT = "You’re signed out. Reload the page to sign in again.";
const UNREACHABLE = "The service can't be reached. Check your connection and try again.";

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
    throw new AskError(UNREACHABLE, 0);
  }
  if (response.redirected) throw new AskError(SIGNED_OUT, 401);
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw new AskError(answer?.error ?? `The page could not do this (${response.status}). Reload it and try again.`, response.status);
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
      throw new AskError(UNREACHABLE, 0);
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
  const said = error?.message ?? `The service answered ${status}.`;
  const wait = retryAfter ? ` Try again in ${retryAfter} seconds.` : " Wait a little and try again.";
  if (status === 402) return { text: said, link: "money" };
  if (status === 429) return { text: `${said}${said.includes("again") ? "" : wait}`, retryAfter: Number(retryAfter) || 0 };
  if (status === 401) return { text: SIGNED_OUT };
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
  const [whole, decimals] = amount.toFixed(9).split(".");
  return `$${Number(whole).toLocaleString("en-US")}.${decimals.replace(/0+$/, "").padEnd(2, "0")}`;
}
