// The cases of Vercel's AI SDK, which are the same with every provider.

import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import * as c from "./cases.mjs";

// Return the cases. `build` makes a language model of a name and a key.
export function cases(build) {
  const model = build(c.MODEL, c.KEY);
  const once = { maxRetries: 0 };
  return {
    async chat() {
      const answer = await generateText({ model, prompt: c.SEVEN_TOKENS });
      c.check(answer.text && answer.usage.outputTokens === 7, answer.usage);
    },

    async stream() {
      const answer = streamText({ model, prompt: c.SEVEN_TOKENS });
      let text = "";
      let count = 0;
      for await (const delta of answer.textStream) {
        text += delta;
        count += 1;
      }
      const usage = await answer.usage;
      c.check(count > 1 && text === (await answer.text) && usage.outputTokens === 7, usage);
    },

    async tools() {
      const seen = [];
      const add = tool({
        description: "Add two numbers.",
        inputSchema: jsonSchema(c.NUMBERS),
        execute: async ({ a, b }) => {
          seen.push([a, b]);
          return a + b;
        },
      });
      const options = { model, tools: { add }, stopWhen: stepCountIs(3), prompt: c.ADD };
      const answer = await generateText(options);
      c.check(String(seen) === "2,3" && answer.text === c.SUM, [seen, answer.text]);
    },

    async schema() {
      const output = Output.object({ schema: jsonSchema(c.CITY_SCHEMA) });
      const answer = await generateText({ model, output, prompt: c.CITY });
      c.check(typeof answer.output.name === "string", answer.output);
    },

    async error() {
      const unknown = build("no-such-model", c.KEY);
      const stranger = build(c.MODEL, c.WRONG_KEY);
      await c.refused(404, () => generateText({ model: unknown, prompt: "Hello!", ...once }));
      await c.refused(401, () => generateText({ model: stranger, prompt: "Hello!", ...once }));
    },

    async cancel() {
      const controller = new AbortController();
      const abortSignal = controller.signal;
      const answer = streamText({ model, prompt: c.LONG, abortSignal, onError() {} });
      let count = 0;
      for await (const _ of answer.textStream) if (++count === 5) controller.abort();
    },
  };
}
