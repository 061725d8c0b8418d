curl https://weatmood.ru/v1/chat/completions \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "qwen3.6-27b",
    "messages": [
      {"role": "system", "content": "You are an expert Python developer."},
      {"role": "user", "content": "Write a function that checks if a string is a palindrome"}
    ],
    "max_tokens": 512,
    "temperature": 0.3
  }'
