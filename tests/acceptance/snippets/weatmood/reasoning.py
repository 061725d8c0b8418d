from openai import OpenAI

client = OpenAI(
    base_url="https://weatmood.ru",
    api_key="YOUR_API_KEY"
)

response = client.chat.completions.create(
    model="glm-4.7",
    messages=[{"role": "user", "content": "What is 17 * 23?"}]
)

msg = response.choices[0].message
print("Thinking:", msg.reasoning)
print("Answer:", msg.content)
