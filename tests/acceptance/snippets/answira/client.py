from openai import OpenAI

client = OpenAI(
    base_url="https://answira.ai/api/v1",
    api_key="your-api-key"
)
