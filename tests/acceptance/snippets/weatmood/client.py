from openai import OpenAI

# Weatmood — just swap the URL and key
client = OpenAI(
    base_url="https://weatmood.ru",
    api_key="weatmood-YOUR_KEY"
)
