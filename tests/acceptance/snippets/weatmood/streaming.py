from openai import OpenAI

client = OpenAI(
    base_url="https://weatmood.ru",
    api_key="YOUR_API_KEY"
)

stream = client.chat.completions.create(
    model="glm-5.2",
    messages=[{"role": "user", "content": "Write a haiku about coding:"}],
    stream=True
)

for chunk in stream:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
