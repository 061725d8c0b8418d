// The playground: an endpoint's form, the request it makes, and its answer.
import { AskError, callApi, eventsOf, explain, learnCharge, sessionKey } from "../relay/http.js";
import { marked, paint } from "../relay/text.js";
import { say } from "../relay/texts.js";
import { Form } from "./form.js";
import { Result } from "./result.js";
import { operationsOf } from "./schema.js";
import { snippets } from "./snippets.js";

const data = JSON.parse(document.getElementById("playground-data").textContent);
const byId = (id) => document.getElementById(id);
const page = byId("playground");
const forms = new Map(); // what was filled in stays while other endpoints are looked at
const LANGUAGES = { curl: "bash", python: "python", javascript: "javascript" };
const wantedModel = new URLSearchParams(location.search).get("model");
let operations = [];
let servers = [];
let form = null;
let running = null;

// Returns a text of the API's document, which is in English, in the reader's language.
const translated = (text) => data.descriptions[text] ?? text;

const announce = (text) => (byId("announcer").textContent = text);
const baseUrl = () => new URL(byId("server").value, location.origin).href.replace(/\/$/, "");

async function start() {
  const response = await fetch(page.dataset.openapiUrl).catch(() => null);
  if (!response?.ok) {
    byId("fields").textContent = say("not_loaded");
    return;
  }
  const document_ = await response.json();
  operations = operationsOf(document_, translated);
  servers = document_.servers;
  for (const tag of new Set(operations.map((each) => each.tag))) {
    const group = document.createElement("optgroup");
    group.label = tag;
    for (const each of operations.filter((one) => one.tag === tag)) group.append(new Option(`${each.method} ${each.path} · ${each.summary}`, each.id));
    byId("operation").append(group);
  }
  for (const server of servers) byId("server").append(new Option(new URL(server.url, location.origin).href.replace(/\/$/, ""), server.url));
  const named = location.hash.slice(1);
  // /playground?model=NAME begins with that model, at the first endpoint that takes it.
  const isNamed = operations.some((each) => each.id === named);
  const fitting = !isNamed && wantedModel && operations.find((each) => each.modelKind && formOf(each).offers(wantedModel));
  if (isNamed) byId("operation").value = named;
  else if (fitting) byId("operation").value = fitting.id;
  byId("send").disabled = false;
  choose();
}

// Returns the form of an endpoint, with the wanted model where it takes that.
function formOf(operation) {
  if (!forms.has(operation.id)) forms.set(operation.id, new Form(operation, data.models, wantedModel));
  return forms.get(operation.id);
}

// Shows the form of the chosen endpoint.
function choose() {
  const operation = operations.find((each) => each.id === byId("operation").value);
  form = formOf(operation);
  history.replaceState(null, "", `#${operation.id}`);
  // Its first sentence; the whole is in the docs.
  byId("description").replaceChildren(...marked(operation.description.replace(/^(.*?(?:\.(?= )|。)).*$/s, "$1")));
  const folded = form.rows.filter((row) => !row.field.isCommon);
  byId("fields").replaceChildren(...form.rows.filter((row) => row.field.isCommon).map((row) => row.element));
  byId("more-fields").replaceChildren(...folded.map((row) => row.element));
  byId("more").hidden = folded.length === 0;
  byId("more-title").textContent = say("more_fields", { number: folded.length });
  byId("fields").hidden = form.rows.length === folded.length;
  if (!running) {
    Result.clear();
    byId("nothing").hidden = false;
  }
  showRequest();
}

// Shows the request as it is now.
function showRequest() {
  byId("server-help").replaceChildren(...marked(translated(servers.find((server) => server.url === byId("server").value)?.description ?? "")));
  const { path, body, values } = form.read({ tells: false });
  const made = snippets(form.operation, baseUrl(), path, body, values);
  for (const [name, language] of Object.entries(LANGUAGES)) paint(byId(`snippet-${name}`), made[name], language);
}

async function send() {
  const { isGood, path, body } = form.read({ tells: true });
  if (!isGood || running) return;
  const controller = (running = new AbortController());
  byId("stop").hidden = false;
  byId("send").disabled = true;
  announce(say("in_progress"));
  let result = new Result(data.request_url);
  try {
    if (!form.operation.isPublic) await sessionKey();
    result = new Result(data.request_url); // its clock starts here, with the key at hand
    await exchange(result, path, body, controller.signal);
    announce(say("complete"));
  } catch (error) {
    result.end();
    if (error.name === "AbortError") announce(say("stopped"));
    else {
      const text = error instanceof AskError ? error.message : say("lost");
      result.advise({ text }, "");
      announce(text);
    }
  }
  running = null;
  byId("stop").hidden = true;
  byId("send").disabled = false;
  if (body === null || !result.requestId) return;
  const cost = await learnCharge(result.requestId);
  if (cost !== null && running === null) result.showCost(cost);
}

// Returns a request as multipart: texts and files, each of a list under `name[]`.
function multipartOf(body) {
  const made = new FormData();
  for (const [name, value] of Object.entries(body)) {
    for (const each of [value].flat()) made.append(Array.isArray(value) ? `${name}[]` : name, each instanceof File ? each : typeof each === "object" ? JSON.stringify(each) : String(each));
  }
  return made;
}

async function exchange(result, path, body, signal) {
  const options = { method: form.operation.method };
  if (body !== null && form.operation.takesForm) options.body = multipartOf(body);
  else if (body !== null) Object.assign(options, { headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const response = await callApi(baseUrl() + path, { ...options, signal }, form.operation);
  result.begin(response);
  let error = null;
  if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
    for await (const event of eventsOf(response, (text) => result.arrive(text))) error = result.take(event) ?? error;
    result.end();
  } else if (response.headers.get("content-type")?.startsWith("audio/")) {
    const sound = await response.blob();
    result.end();
    result.play(sound);
  } else {
    const text = await response.text();
    result.end();
    error = result.whole(text);
  }
  if (error || !response.ok) result.advise(explain(response.ok ? 502 : response.status, error, response.headers.get("retry-after")), page.dataset.moneyUrl);
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
byId("form").addEventListener("input", () => form && showRequest());
byId("operation").addEventListener("change", choose);
byId("server").addEventListener("change", showRequest);
byId("stop").addEventListener("click", () => running?.abort());
byId("reset").addEventListener("click", () => {
  forms.delete(form.operation.id);
  choose();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
start();
