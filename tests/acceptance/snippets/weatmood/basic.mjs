import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: 'https://weatmood.ru',
  apiKey: 'YOUR_API_KEY',
});

const response = await client.chat.completions.create({
  model: 'glm-5.2',
  messages: [
    {role: 'user', content: 'Hello!'}
  ],
});

console.log(response.choices[0].message.content);
