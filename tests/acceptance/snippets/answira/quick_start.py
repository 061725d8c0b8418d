from openai import OpenAI

client = OpenAI(
    base_url="https://answira.ai/api/v1",
    api_key="your-api-key"
)

response = client.chat.completions.create(
    model="zai-org/GLM-4.7-FP8",
    messages=[
        {"role": "user", "content": "Hello!"}
    ],
    max_tokens=500
)

print(response.choices[0].message.content)
