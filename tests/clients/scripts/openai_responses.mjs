// OpenAI's Node SDK, Responses.

import OpenAI from "openai";
import * as c from "./cases.mjs";

const client = new OpenAI({ baseURL: `${c.URL}/v1`, apiKey: c.KEY });
const stranger = new OpenAI({ baseURL: `${c.URL}/v1`, apiKey: c.WRONG_KEY });
const { responses } = client;
const model = c.MODEL;

await c.main({
  async chat() {
    const answer = await responses.create({ model, input: c.SEVEN_TOKENS });
    c.check(answer.output_text && answer.usage.output_tokens === 7, answer);
  },

  async stream() {
    const stream = responses.stream({ model, input: c.SEVEN_TOKENS });
    let text = "";
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    const final = await stream.finalResponse();
    c.check(text && text === final.output_text && final.usage.output_tokens === 7, final);
  },

  async tools() {
    const tools = [{ type: "function", name: "add", parameters: c.NUMBERS, strict: true }];
    const input = [{ role: "user", content: c.ADD }];
    const first = await responses.create({ model, input, tools });
    const call = first.output.find((item) => item.type === "function_call");
    const { a, b } = JSON.parse(call.arguments);
    const output = { type: "function_call_output", call_id: call.call_id, output: String(a + b) };
    const whole = [...input, ...first.output, output];
    const last = await responses.create({ model, input: whole, tools });
    c.check(a === 2 && b === 3 && last.output_text === c.SUM, last);
  },

  async schema() {
    const format = { type: "json_schema", name: "city", schema: c.CITY_SCHEMA, strict: true };
    const answer = await responses.parse({ model, input: c.CITY, text: { format } });
    c.check(c.isCity(answer.output_text), answer);
  },

  async error() {
    const input = "Hello!";
    await c.refused(404, () => responses.create({ model: "no-such-model", input }));
    await c.refused(401, () => stranger.responses.create({ model, input }));
  },

  async cancel() {
    const stream = await responses.create({ model, input: c.LONG, stream: true });
    let count = 0;
    for await (const _ of stream) if (++count === 8) break;
  },
});
