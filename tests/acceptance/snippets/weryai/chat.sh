curl --request POST \
  --url https://api.weryai.com/v1/chat/completions \
  --header 'Authorization: Bearer <token>' \
  --header 'Content-Type: application/json' \
  --data '
{
  "model": "GEMINI_25_FLASH",
  "messages": [
    {
      "role": "system",
      "content": "You are a helpful assistant."
    },
    {
      "role": "user",
      "content": "What is artificial intelligence?"
    }
  ],
  "max_tokens": 1024,
  "temperature": 1,
  "top_p": 1,
  "n": 1
}
'
