from openai import OpenAI

client = OpenAI(
    api_key="sk-glm5-...",
    base_url="https://glm5.app/api/v1",
)

completion = client.chat.completions.create(
    model="glm-5.2",
    messages=[
        {"role": "user", "content": "Write a short launch checklist."}
    ],
)

print(completion.choices[0].message.content)
