import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: 'https://weatmood.ru',
  apiKey: 'YOUR_API_KEY',
});

const stream = await client.chat.completions.create({
  model: 'glm-5.2',
  messages: [{role: 'user', content: 'Write a story about a robot.'}],
  stream: true,
});

for await (const chunk of stream) {
  if (chunk.choices[0].delta.content) {
    process.stdout.write(chunk.choices[0].delta.content);
  }
}
