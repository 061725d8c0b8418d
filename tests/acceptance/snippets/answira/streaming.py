from openai import OpenAI

client = OpenAI(
    base_url="https://answira.ai/api/v1",
    api_key="your-api-key"
)

stream = client.chat.completions.create(
    model="zai-org/GLM-4.7-FP8",
    messages=[{"role": "user", "content": "Write a story"}],
    stream=True
)

for chunk in stream:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
