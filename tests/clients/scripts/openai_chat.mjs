// OpenAI's Node SDK, chat completions.

import OpenAI from "openai";
import * as c from "./cases.mjs";

const client = new OpenAI({ baseURL: `${c.URL}/v1`, apiKey: c.KEY });
const stranger = new OpenAI({ baseURL: `${c.URL}/v1`, apiKey: c.WRONG_KEY });
const chat = client.chat.completions;

function request(text, fields = {}) {
  return { model: c.MODEL, messages: [{ role: "user", content: text }], ...fields };
}

await c.main({
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    c.check(names.includes(c.MODEL), names);
  },

  async chat() {
    const answer = await chat.create(request(c.SEVEN_TOKENS));
    c.check(answer.choices[0].message.content && answer.usage.completion_tokens === 7, answer);
  },

  async stream() {
    const options = { stream: true, stream_options: { include_usage: true } };
    const stream = chat.stream(request(c.SEVEN_TOKENS, options));
    let count = 0;
    for await (const chunk of stream) count += chunk.choices.length;
    const final = await stream.finalChatCompletion();
    c.check(count > 2 && final.choices[0].message.content, final);
    c.check(final.usage.completion_tokens === 7, final.usage);
  },

  async tools() {
    const seen = [];
    const add = {
      name: "add",
      description: "Add two numbers.",
      parameters: c.NUMBERS,
      parse: JSON.parse,
      function: ({ a, b }) => {
        seen.push([a, b]);
        return String(a + b);
      },
    };
    const tools = [{ type: "function", function: add }];
    const text = await chat.runTools(request(c.ADD, { tools })).finalContent();
    c.check(String(seen) === "2,3" && text === c.SUM, [seen, text]);
  },

  async schema() {
    const json_schema = { name: "city", schema: c.CITY_SCHEMA, strict: true };
    const response_format = { type: "json_schema", json_schema };
    const answer = await chat.parse(request(c.CITY, { response_format }));
    c.check(c.isCity(answer.choices[0].message.content), answer);
  },

  async error() {
    await c.refused(404, () => chat.create(request("Hello!", { model: "no-such-model" })));
    await c.refused(401, () => stranger.models.list());
  },

  async cancel() {
    const stream = await chat.create(request(c.LONG, { stream: true }));
    let count = 0;
    for await (const _ of stream) if (++count === 5) break;
  },

  async embeddings() {
    const input = ["one", "two"];
    const answer = await client.embeddings.create({ model: c.EMBEDDING_MODEL, input });
    const vector = answer.data[1].embedding;
    c.check(answer.data.length === 2 && typeof vector[0] === "number", answer);
  },
});
