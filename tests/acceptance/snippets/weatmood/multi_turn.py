from openai import OpenAI

client = OpenAI(
    base_url="https://weatmood.ru",
    api_key="YOUR_API_KEY"
)

messages = [
    {"role": "system", "content": "You are a Python expert."},
]

while True:
    user_input = input("You: ")
    if user_input.lower() == "exit":
        break
    messages.append({"role": "user", "content": user_input})
    response = client.chat.completions.create(
        model="qwen3.6-27b",
        messages=messages,
        max_tokens=2048
    )
    answer = response.choices[0].message.content
    messages.append({"role": "assistant", "content": answer})
    print(f"Assistant: {answer}")
