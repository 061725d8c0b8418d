// Direct fetch (no SDK) - browser compatible
const response = await fetch('https://weatmood.ru/v1/chat/completions', {
  method: 'POST',
  headers: {
    'Authorization': 'Bearer YOUR_API_KEY',
    'Content-Type': 'application/json'
  },
  body: JSON.stringify({
    model: 'glm-5.2',
    messages: [{role: 'user', content: 'Hello!'}],
    max_tokens: 1024
  })
});

const data = await response.json();
console.log(data.choices[0].message.content);
