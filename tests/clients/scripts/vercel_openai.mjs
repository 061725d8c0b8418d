// Vercel's AI SDK with @ai-sdk/openai, whose default is Responses.

import { createOpenAI } from "@ai-sdk/openai";
import { embedMany } from "ai";
import * as c from "./cases.mjs";
import { cases } from "./vercel.mjs";

const provider = (apiKey) => createOpenAI({ baseURL: `${c.URL}/v1`, apiKey });

await c.main({
  ...cases((model, key) => provider(key)(model)),

  async embeddings() {
    const model = provider(c.KEY).embedding(c.EMBEDDING_MODEL);
    const { embeddings } = await embedMany({ model, values: ["one", "two"] });
    c.check(embeddings.length === 2 && typeof embeddings[1][0] === "number", embeddings);
  },
});
