import OpenAI from 'openai';

const client = new OpenAI({
    baseURL: 'https://answira.ai/api/v1',
    apiKey: 'your-api-key'
});

const response = await client.chat.completions.create({
    model: 'zai-org/GLM-4.7-FP8',
    messages: [{role: 'user', content: 'Hello!'}],
    max_tokens: 500
});

console.log(response.choices[0].message.content);
