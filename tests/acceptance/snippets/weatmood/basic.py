from openai import OpenAI

client = OpenAI(
    base_url="https://weatmood.ru",
    api_key="YOUR_API_KEY"
)

response = client.chat.completions.create(
    model="glm-5.2",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"}
    ],
    max_tokens=1024,
    temperature=0.7
)

print(response.choices[0].message.content)
# Paris is the capital and largest city of France.
