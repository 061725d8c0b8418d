// Anthropic's Node SDK.

import Anthropic from "@anthropic-ai/sdk";
import * as c from "./cases.mjs";

const client = new Anthropic({ baseURL: c.URL, apiKey: c.KEY });
const stranger = new Anthropic({ baseURL: c.URL, apiKey: c.WRONG_KEY });
const { messages } = client;

function request(text, fields = {}) {
  const conversation = [{ role: "user", content: text }];
  return { model: c.MODEL, max_tokens: 4000, messages: conversation, ...fields };
}

await c.main({
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    c.check(names.includes(c.MODEL), names);
  },

  async chat() {
    const answer = await messages.create(request(c.SEVEN_TOKENS));
    c.check(answer.content[0].text && answer.usage.output_tokens === 7, answer);
  },

  async stream() {
    const stream = messages.stream(request(c.SEVEN_TOKENS));
    let text = "";
    stream.on("text", (delta) => (text += delta));
    const final = await stream.finalMessage();
    c.check(text && text === final.content[0].text && final.usage.output_tokens === 7, final);
  },

  async tools() {
    const tools = [{ name: "add", input_schema: c.NUMBERS }];
    const first = await messages.create(request(c.ADD, { tools }));
    const call = first.content.find((block) => block.type === "tool_use");
    const { a, b } = call.input;
    const result = { type: "tool_result", tool_use_id: call.id, content: String(a + b) };
    const whole = [
      ...request(c.ADD).messages,
      { role: "assistant", content: first.content },
      { role: "user", content: [result] },
    ];
    const last = await messages.create(request("", { messages: whole, tools }));
    c.check(a === 2 && b === 3 && last.content[0].text === c.SUM, last);
  },

  async schema() {
    const output_config = { format: { type: "json_schema", schema: c.CITY_SCHEMA } };
    const answer = await messages.create(request(c.CITY, { output_config }));
    c.check(c.isCity(answer.content[0].text), answer);
  },

  async error() {
    await c.refused(404, () => messages.create(request("Hello!", { model: "no-such-model" })));
    await c.refused(401, () => stranger.messages.create(request("Hello!")));
  },

  async cancel() {
    const stream = await messages.create(request(c.LONG, { stream: true }));
    let count = 0;
    for await (const _ of stream) if (++count === 8) break;
  },
});
