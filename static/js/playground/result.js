// What came back: status, times, cost, the answer as it arrives, and as it is to be read.
import { dollars, requestIdOf } from "../relay/http.js";
import { paint, visible } from "../relay/text.js";
import { language, say } from "../relay/texts.js";

const byId = (id) => document.getElementById(id);
const LONGEST_RAW = 500_000;
const HEADERS = /^(x-|content-type|retry-after|date|cache-control|www-authenticate)/;

export class Result {
  constructor(requestUrl) {
    this.requestUrl = requestUrl;
    this.startedAt = performance.now();
    this.facts = new Map();
    this.raw = "";
    this.text = "";
    this.reasoning = "";
    Result.clear();
  }

  // Takes away what the last answer left.
  static clear() {
    for (const id of ["raw", "read", "headers", "reasoning-text", "status", "facts"]) byId(id).replaceChildren();
    for (const id of ["nothing", "advice", "reasoning", "result"]) byId(id).hidden = true;
  }

  // Shows an answer's head.
  begin(response) {
    byId("result").hidden = false;
    const badge = document.createElement("span");
    badge.className = `badge ${response.ok ? "good" : "bad"}`;
    badge.textContent = `${response.status} ${response.statusText}`.trim();
    byId("status").replaceChildren(badge);
    this.#note("first_byte", this.#elapsed());
    this.requestId = requestIdOf(response);
    const left = response.headers.get("x-ratelimit-remaining");
    if (left !== null) this.#note("requests_left", say("left_of", { left, limit: response.headers.get("x-ratelimit-limit") }));
    const cost = response.headers.get("x-request-cost");
    if (cost !== null) this.showCost(dollars(Number(cost)));
    const shown = [...response.headers].filter(([name]) => HEADERS.test(name)).sort();
    byId("headers").textContent = shown.map(([name, value]) => `${name}: ${value}`).join("\n");
  }

  // Adds to the answer as it arrived.
  arrive(text) {
    if (this.raw.length > LONGEST_RAW) return;
    this.raw += text;
    const shown = this.raw.length > LONGEST_RAW ? `${text}\n${say("not_shown")}` : text;
    byId("raw").append(visible(shown));
  }

  // Takes in a stream's event.
  take(data) {
    if (!data || data === "[DONE]") return null;
    const event = JSON.parse(data);
    for (const choice of event.choices ?? []) {
      if (choice.index) continue;
      this.text += choice.delta?.content ?? choice.text ?? "";
      this.reasoning += choice.delta?.reasoning ?? choice.delta?.reasoning_content ?? "";
    }
    // The deltas of Responses and of Messages.
    if (event.type === "response.output_text.delta") this.text += event.delta;
    if (/^response\.reasoning(_summary)?_text\.delta$/.test(event.type)) this.reasoning += event.delta;
    if (event.type === "content_block_delta") {
      this.text += event.delta.text ?? "";
      this.reasoning += event.delta.thinking ?? "";
    }
    if (typeof event.usage?.cost === "number") this.showCost(dollars(event.usage.cost));
    if (event.usage?.prompt_tokens !== undefined) this.#noteTokens(event.usage);
    byId("read").textContent = visible(this.text);
    byId("reasoning").hidden = !this.reasoning;
    byId("reasoning-text").textContent = visible(this.reasoning);
    return event.error ?? null;
  }

  // Shows a whole answer; returns its error if it is one.
  whole(text) {
    this.arrive(text);
    let answer = null;
    try {
      answer = JSON.parse(text);
    } catch {
      byId("read").textContent = visible(text);
      return null;
    }
    paint(byId("read"), visible(JSON.stringify(answer, null, 2)), "json");
    if (answer.usage?.prompt_tokens !== undefined) this.#noteTokens(answer.usage);
    return answer.error ?? null;
  }

  // Shows sound as something to listen to.
  play(sound) {
    this.arrive(say("sound", { size: sound.size.toLocaleString(language), type: sound.type }));
    const player = Object.assign(document.createElement("audio"), { controls: true, src: URL.createObjectURL(sound) });
    player.setAttribute("aria-label", say("answer"));
    byId("read").replaceChildren(player, this.raw);
  }

  end() {
    this.#note("total", this.#elapsed());
  }

  showCost(text) {
    this.#note("cost", text);
  }

  // Says what went wrong and what to do.
  advise({ text, link }, moneyUrl) {
    byId("advice").hidden = false;
    byId("advice-text").textContent = visible(text);
    byId("advice-link").hidden = link !== "money" || !moneyUrl;
    byId("advice-link").href = moneyUrl;
  }

  #elapsed() {
    return say("ms", { number: Math.round(performance.now() - this.startedAt).toLocaleString(language) });
  }

  #noteTokens({ prompt_tokens: input, completion_tokens: output }) {
    this.#note("tokens", say("tokens_in_out", { input, output }));
  }

  #note(name, value) {
    this.facts.set(name, value);
    const rows = ["first_byte", "total", "tokens", "cost", "requests_left"].filter((each) => this.facts.has(each));
    byId("facts").replaceChildren(...rows.map((each) => this.#fact(each, this.facts.get(each))));
  }

  #fact(name, value) {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const shown = document.createElement("dd");
    term.textContent = say(name);
    if (name === "cost" && this.requestId) {
      const link = document.createElement("a");
      link.href = `${this.requestUrl}${this.requestId}`;
      link.textContent = value;
      shown.append(link);
    } else shown.textContent = value;
    row.append(term, shown);
    return row;
  }
}
