// Asking a model: one request of the API, its stream read into a message.
import { AskError, callApi, dollars, eventsOf, explain, requestIdOf } from "../relay/http.js";
import { say } from "../relay/texts.js";

export class Refused extends Error {
  constructor(advice) {
    super(advice.text);
    this.advice = advice;
  }
}

// Returns the request's body for a conversation.
export function bodyOf({ model, settings, messages }) {
  const said = messages.filter((message) => message.content).map(({ role, content }) => ({ role, content }));
  const body = {
    model,
    messages: settings.system ? [{ role: "system", content: settings.system }, ...said] : said,
    stream: true,
    stream_options: { include_usage: true },
  };
  if (settings.temperature !== null) body.temperature = settings.temperature;
  if (settings.max_tokens !== null) body.max_tokens = settings.max_tokens;
  if (settings.thinking !== null) body.thinking = { type: settings.thinking };
  return body;
}

// Asks, and writes the answer into `message` as it comes; `onMore` is called for every part.
// Throws Refused with what to do, AbortError when stopped.
export async function answer(body, message, signal, onMore) {
  let response;
  try {
    response = await callApi("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error instanceof AskError) throw new Refused({ text: error.message });
    throw error;
  }
  if (!response.ok) {
    const said = await response.json().catch(() => null);
    throw new Refused(explain(response.status, said?.error, response.headers.get("retry-after")));
  }
  message.request_id = requestIdOf(response);
  let isDone = false;
  try {
    for await (const data of eventsOf(response)) {
      if (data === "[DONE]") isDone = true;
      else if (data) take(data, message, onMore);
    }
  } catch (error) {
    if (error instanceof TypeError) throw new Refused({ text: say("lost_midway") });
    throw error;
  }
  if (!isDone) throw new Refused({ text: say("interrupted") });
}

function take(data, message, onMore) {
  const event = JSON.parse(data);
  if (event.error) throw new Refused(explain(502, event.error, null));
  const choice = event.choices?.[0];
  message.content += choice?.delta?.content ?? "";
  message.reasoning += choice?.delta?.reasoning ?? "";
  if (choice?.finish_reason) message.finish_reason = choice.finish_reason;
  if (typeof event.usage?.cost === "number") message.cost = dollars(event.usage.cost);
  onMore();
}
