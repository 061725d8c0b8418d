// Vercel's AI SDK with @ai-sdk/openai-compatible, which speaks chat completions.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany } from "ai";
import * as c from "./cases.mjs";
import { cases } from "./vercel.mjs";

const provider = (apiKey) =>
  createOpenAICompatible({
    name: "tollgate",
    baseURL: `${c.URL}/v1`,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });

await c.main({
  ...cases((model, key) => provider(key)(model)),

  async embeddings() {
    const model = provider(c.KEY).embeddingModel(c.EMBEDDING_MODEL);
    const { embeddings } = await embedMany({ model, values: ["one", "two"] });
    c.check(embeddings.length === 2 && typeof embeddings[1][0] === "number", embeddings);
  },
});
