import OpenAI from "openai";

const client = new OpenAI({
  apiKey: process.env.GLM5_API_KEY,
  baseURL: "https://glm5.app/api/v1",
});

const completion = await client.chat.completions.create({
  model: "glm-5.2",
  messages: [
    { role: "user", content: "Write a short launch checklist." },
  ],
});

console.log(completion.choices[0]?.message?.content);
