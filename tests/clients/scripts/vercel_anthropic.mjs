// Vercel's AI SDK with @ai-sdk/anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import * as c from "./cases.mjs";
import { cases } from "./vercel.mjs";

const provider = (apiKey) => createAnthropic({ baseURL: `${c.URL}/v1`, apiKey });

await c.main(cases((model, key) => provider(key)(model)));
